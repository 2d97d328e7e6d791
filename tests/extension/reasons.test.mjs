// The daemon's reasons in the person's language, by their codes.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';

import {spoken} from '../../gnome-extension/reasons.js';
import {efficiency, ENGLISH} from './daemonStates.mjs';

const TOLD = efficiency('Auto', 'Quiet');
const MARKED = {...ENGLISH, _: message => `«${message}»`};
const because = (code, details = {}, reason = 'as the daemon said it') =>
    ({reason, reason_code: code, reason_details: details});
const said = (told, text = ENGLISH) => spoken(told, TOLD, text);

const KNOWN = [
    ['on_battery', {}, 'On battery'],
    ['on_battery', {battery_percent: 43}, 'On battery at 43 %'],
    ['battery_low', {battery_percent: 19, limit_percent: 20}, 'On battery at 19 %, below 20 %'],
    ['battery_still_low', {battery_percent: 21.5, limit_percent: 23}, 'On battery at 21.5 %, not yet up to 23 %'],
    ['on_mains', {}, 'On mains power'],
    ['performance_profile', {}, 'On mains power, and the power profile is Performance'],
    ['battery_full', {battery_percent: 90, limit_percent: 80}, 'On mains power with the battery at 90 %, above 80 %'],
    ['battery_not_full', {battery_percent: 70, limit_percent: 80},
        'On mains power with the battery at 70 %, not above 80 %'],
    ['battery_still_full', {battery_percent: 79, limit_percent: 77},
        'On mains power with the battery at 79 %, not yet down to 77 %'],
    ['quiet_hours', {}, 'These are the quiet hours'],
    ['power_saver_profile', {}, 'The power profile is Power Saver'],
    ['hot', {temperature_celsius: 88, limit_celsius: 85}, 'The hottest device is at 88 °C, above 85 °C'],
    ['still_hot', {temperature_celsius: 83, limit_celsius: 80}, 'The hottest device is at 83 °C, not yet down to 80 °C'],
    ['fan_loud', {fan_percent: 75, limit_percent: 70}, 'The fan runs at 75 %, above 70 %'],
    ['fan_still_loud', {fan_percent: 66, limit_percent: 60}, 'The fan runs at 66 %, not yet down to 60 %'],
    ['performance_degraded', {detail: 'lap-detected'}, 'The machine is throttled: lap-detected'],
    ['budget_ultra', {limit_watt_hours: 20}, 'Today’s 20 Wh are spent; Ultra Efficiency until midnight'],
    ['nothing_applies', {}, 'Nothing asks for another mode'],
    ['no_reading_yet', {}, 'No sensor says anything yet'],
    ['as_chosen', {}, 'As chosen'],
    ['held', {application_id: 'a program'}, 'Held by a program'],
    ['held', {application_id: 'org.example.Talk', detail: 'a call'}, 'Held by org.example.Talk: a call'],
    ['mode_change_pending',
        {mode: 'Quiet', dwell_seconds: 60, next_mode: 'UltraEfficiency', reason: because('on_battery')},
        'Quiet stays until 60 s after its last change, then Ultra Efficiency: On battery'],
];

for (const [code, details, sentence] of KNOWN) {
    test(`${code} with ${Object.keys(details).join(', ') || 'nothing'} is translated`, () => {
        assert.equal(said(because(code, details)), sentence);
        assert.ok(said(because(code, details), MARKED).startsWith('«'));
    });
}

test('numbers are written as the person writes them', () => {
    const german = {...ENGLISH, locale: 'de'};
    assert.equal(said(because('on_battery', {battery_percent: 19.5}), german), 'On battery at 19,5 %');
});

test('a code that is not known stays as the daemon\'s sentence, with a capital letter', () => {
    assert.equal(said(because('moon', {}, 'the moon is full'), MARKED), 'The moon is full');
    assert.equal(said(because('toString', {}, 'the moon is full'), MARKED), 'The moon is full');
    for (const nothing of [because('', {}, ''), {}, undefined])
        assert.equal(said(nothing, MARKED), '');
});

test('a reason that lacks a value stays as the daemon\'s sentence', () => {
    assert.equal(said(because('battery_low', {battery_percent: 19}, 'on battery'), MARKED), 'On battery');
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
        assert.match(said(because(code, {model: 'tiny', status: 500}), MARKED), /^«/, code);
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
