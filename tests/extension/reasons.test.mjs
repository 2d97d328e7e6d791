// The daemon's reasons in the person's language; the sentences are those that the daemon's own rules say.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';

import {spoken} from '../../gnome-extension/reasons.js';
import {efficiency, ENGLISH} from './daemonStates.mjs';

const TOLD = efficiency('Auto', 'Quiet');
const MARKED = {...ENGLISH, _: message => `«${message}»`};
const said = (reason, text = ENGLISH) => spoken(reason, TOLD, text);

for (const [reason, sentence] of [
    ['on battery', 'On battery'],
    ['on battery at 43 %', 'On battery at 43 %'],
    ['on battery at 19 %, below 20 %', 'On battery at 19 %, below 20 %'],
    ['on battery at 21.5 %, not yet up to 23 %', 'On battery at 21.5 %, not yet up to 23 %'],
    ['on mains power', 'On mains power'],
    ['on mains power, and the power profile is performance', 'On mains power, and the power profile is Performance'],
    ['on mains power with the battery at 90 %, above 80 %', 'On mains power with the battery at 90 %, above 80 %'],
    ['on mains power with the battery at 70 %, not above 80 %',
        'On mains power with the battery at 70 %, not above 80 %'],
    ['on mains power with the battery at 79 %, not yet down to 77 %',
        'On mains power with the battery at 79 %, not yet down to 77 %'],
    ['these are the quiet hours', 'These are the quiet hours'],
    ['the power profile is power-saver', 'The power profile is Power Saver'],
    ['the hottest device is at 88 °C, above 85 °C', 'The hottest device is at 88 °C, above 85 °C'],
    ['the hottest device is at 83 °C, not yet down to 80 °C', 'The hottest device is at 83 °C, not yet down to 80 °C'],
    ['the fan runs at 75 %, above 70 %', 'The fan runs at 75 %, above 70 %'],
    ['the fan runs at 66 %, not yet down to 60 %', 'The fan runs at 66 %, not yet down to 60 %'],
    ['the machine holds its performance back: lap-detected', 'The machine holds its performance back: lap-detected'],
    ['no reading asks for another mode', 'Nothing asks for another mode'],
    ['no sensor says anything yet', 'No sensor says anything yet'],
    ['as chosen', 'As chosen'],
    ['held by a program', 'Held by a program'],
    ['held by org.example.Talk: a call', 'Held by org.example.Talk: a call'],
]) {
    test(`“${reason}” is known, so that it can be translated`, () => {
        assert.equal(said(reason), sentence);
        assert.ok(said(reason, MARKED).startsWith('«'));
    });
}

test('a change that waits is told with its own reason', () => {
    const reason = 'Quiet stays until 60 s after its last change; then UltraEfficiency: on battery at 4 %, below 5 %';
    assert.equal(said(reason),
        'Quiet stays until 60 s after its last change, then Ultra Efficiency: On battery at 4 %, below 5 %');
});

test('a sentence that is not known stays as the daemon said it, with a capital letter', () => {
    assert.equal(said('the moon is full', MARKED), 'The moon is full');
    assert.equal(said('', MARKED), '');
});

test('sentences in sentences without end are cut short', () => {
    const reason = `${'Quiet stays until 1 s after its last change; then Quiet: '.repeat(500)}on battery`;
    assert.ok(said(reason).length > 0);
});

test('the daemon\'s rules still use the words that are translated here', () => {
    const rules = readFileSync(new URL('../../ollama_proxyd/core/auto_rules.py', import.meta.url), 'utf8');
    for (const words of [
        'on battery at {percent:g} %', 'on mains power with the battery at {percent:g} %', 'these are the quiet hours',
        'the hottest device is at {hottest_c:g} °C', 'the machine holds its performance back: {why}',
        'the fan runs at {percent:g} %', 'the power profile is power-saver', 'no reading asks for another mode',
        'no sensor says anything yet', 'on mains power, and the power profile is performance',
    ])
        assert.ok(rules.includes(words), words);
});
