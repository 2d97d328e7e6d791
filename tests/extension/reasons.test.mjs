// The daemon's reasons in the person's language, by their codes.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';

import {spoken} from '../../gnome-extension/modes.js';
import {efficiency} from './daemonStates.mjs';

const TOLD = efficiency('Auto', 'Quiet');

const because = (code, details = {}, reason = 'as the daemon said it') =>
    ({reason, reason_code: code, reason_details: details});
const said = told => spoken(told, TOLD).replaceAll('\u00a0', ' ');
function marked(told) {
    globalThis.translate = message => `«${message}»`;
    const sentence = said(told);
    delete globalThis.translate;
    return sentence;
}

const KNOWN = [
    ['on_battery', {}, 'On battery'],
    ['on_battery', {battery_percent: 43}, 'On battery, 43%'],
    ['battery_low', {battery_percent: 19, limit_percent: 20}, 'Battery below 20%'],
    ['battery_still_low', {battery_percent: 21.5, limit_percent: 23}, 'On battery, 21.5%'],
    ['on_mains', {}, 'Plugged in'],
    ['performance_profile', {}, 'Plugged in, power mode Performance'],
    ['battery_full', {battery_percent: 90, limit_percent: 80}, 'Plugged in, 90% charged'],
    ['battery_not_full', {battery_percent: 70, limit_percent: 80}, 'Plugged in, 70% charged'],
    ['battery_still_full', {battery_percent: 79, limit_percent: 77}, 'Plugged in, 79% charged'],
    ['quiet_hours', {}, 'Quiet hours'],
    ['power_saver_profile', {}, 'Power mode Power Saver'],
    ['hot', {temperature_celsius: 88, limit_celsius: 85}, '88 °C is too hot'],
    ['still_hot', {temperature_celsius: 83, limit_celsius: 80}, 'Cooling down, 83 °C'],
    ['fan_loud', {fan_percent: 75, limit_percent: 70}, 'Fan at 75%'],
    ['fan_still_loud', {fan_percent: 66, limit_percent: 60}, 'Fan slows down, 66%'],
    ['performance_degraded', {detail: 'lap-detected'}, 'Throttled: lap-detected'],
    ['budget_ultra', {limit_watt_hours: 20}, 'Today’s 20 Wh are spent'],
    ['nothing_applies', {}, 'Nothing asks for another mode'],
    ['no_reading_yet', {}, 'No sensor says anything yet'],
    ['as_chosen', {}, 'As chosen'],
    ['none_chosen', {}, 'The default, as none was chosen'],
    ['held', {application_id: 'Calls', detail: 'a call'}, 'Held by Calls'],
    ['mode_change_pending',
        {mode: 'Quiet', dwell_seconds: 60, next_mode: 'UltraEfficiency', reason: because('on_battery')},
        'Soon Ultra Efficiency: on battery'],
];

for (const [code, details, sentence] of KNOWN) {
    test(`${code} with ${Object.keys(details).join(', ') || 'nothing'} is translated`, () => {
        assert.equal(said(because(code, details)), sentence);
        assert.ok(marked(because(code, details)).startsWith('«'));
    });
}

test('a code that is not known stays as the daemon\'s sentence, with a capital letter', () => {
    assert.equal(marked(because('moon', {}, 'the moon is full')), 'The moon is full');
    assert.equal(marked(because('toString', {}, 'the moon is full')), 'The moon is full');
    for (const nothing of [because('', {}, ''), {}, undefined])
        assert.equal(marked(nothing), '');
});

test('a reason that lacks a value stays as the daemon\'s sentence', () => {
    assert.equal(marked(because('battery_low', {battery_percent: 19}, 'on battery')), 'On battery');
});

test('reasons in reasons without end are cut short', () => {
    let told = because('on_battery');
    for (let i = 0; i < 500; i++)
        told = because('mode_change_pending', {mode: 'Quiet', dwell_seconds: 1, next_mode: 'Balanced', reason: told});
    assert.ok(said(told).length > 0);
});

test('each failure of a backend that the daemon documents is translated', () => {
    const page = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8');
    const codes = [...page.matchAll(/^\| `(fails_\w+|rate_limited)` \|/gm)].map(([, code]) => code);
    assert.ok(codes.includes('fails_busy'));
    for (const code of codes)
        assert.match(marked(because(code, {model: 'tiny', status: 500})), /^«/, code);
});

test('the daemon documents each code that is translated here, with the values that its templates need', () => {
    const page = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8');
    for (const [code, details] of KNOWN) {
        const row = page.split('\n').find(line => line.startsWith(`| \`${code}\` |`));
        assert.ok(row, code);
        for (const name of Object.keys(details))
            assert.ok(row.split('|')[2].includes(`\`${name}\``), `${code} has ${name}`);
    }
});
