// Numbers as people read them.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {capital, energy, facts, figure, fill, known, words} from '../../gnome-extension/format.js';
import {ENGLISH} from './daemonStates.mjs';

for (const [joules, shown] of [
    [0, '0 J'], [0.4, '0.4 J'], [9.94, '9.9 J'], [9.96, '10 J'], [113, '113 J'], [999, '999 J'], [1000, '0.3 Wh'],
    [3600, '1 Wh'], [5400, '1.5 Wh'], [36_000, '10 Wh'], [3_599_000, '1,000 Wh'],
    [3_600_000, '1 kWh'], [9_000_000, '2.5 kWh'],
])
    test(`${joules} J are shown as ${shown}`, () => assert.equal(energy(joules, ENGLISH), shown));

test('numbers follow the notation of the language', () => {
    assert.equal(figure(1.5, {...ENGLISH, locale: 'de'}), '1,5');
    assert.equal(energy(5400, {...ENGLISH, locale: 'fr'}), '1,5 Wh');
});

test('what is no number is not known', () => {
    for (const value of [NaN, Infinity, -Infinity, undefined, null, '7', {}])
        assert.equal(known(value), null);
    assert.equal(known(0), 0);
    assert.equal(known(-3), -3);
});

test('what is no text is nothing', () => {
    for (const value of [undefined, null, 7, {}, []])
        assert.equal(words(value), '');
    assert.equal(words(' a b '), 'a b');
});

test('what is no dictionary is empty', () => {
    for (const value of [undefined, null, 7, 'x', [1]])
        assert.deepEqual(facts(value), {});
});

test('a template keeps names that nobody fills, and values are not templates', () => {
    assert.equal(fill('{a} and {b}', {a: '{b}'}), '{b} and {b}');
});

test('a sentence begins with a capital letter, also one of two code units, and nothing stays nothing', () => {
    assert.equal(capital('on battery'), 'On battery');
    assert.equal(capital('über'), 'Über');
    assert.equal(capital('𐐨b'), '𐐀b');
    assert.equal(capital(''), '');
});
