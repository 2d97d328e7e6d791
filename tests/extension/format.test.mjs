// Numbers as people read them.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {capital, energy, facts, fill, known, percent, power, small, words} from '../../gnome-extension/format.js';

for (const [joules, shown] of [
    [0, '0.01 Wh'], [113, '0.031 Wh'], [5400, '1.5 Wh'], [36_000, '10 Wh'], [3_600_000, '1,000 Wh'],
])
    test(`${joules} J are shown as ${shown}`, () => assert.equal(energy(joules), shown.replace(' ', '\u00a0')));

test('percent are written as the Shell writes them', () => {
    assert.deepEqual([percent(43), percent(43.25)], ['43%', '43.3%']);
});

test('a number and its unit are never parted, in no translation', () => {
    assert.equal(power(12), '12\u00a0W');
    assert.equal(fill('à {n} °C, encore {s} s pour {b} Gio', {n: 91, s: 7, b: 2}), 'à 91\u00a0°C, encore 7\u00a0s pour 2\u00a0Gio');
    assert.equal(fill('{n} Token/s', {n: 23}), '23\u00a0Token/s');
    assert.equal(fill('{a} warten seit {b} so', {a: 1, b: 2}), '1 warten seit 2 so');
});

test('what is no number is not known', () => {
    for (const value of [NaN, Infinity, -Infinity, undefined, null, '7', {}])
        assert.equal(known(value), null);
    assert.deepEqual([known(0), known(-3)], [0, -3]);
});

test('what is no text is nothing, and what is no dictionary is empty', () => {
    for (const value of [undefined, null, 7, [1]])
        assert.deepEqual([words(value), facts(value)], ['', {}]);
    assert.equal(words(' a b '), 'a b');
});

test('a template keeps names that nobody fills, and values are not templates', () => {
    assert.equal(fill('{a} and {b}', {a: '{b}'}), '{b} and {b}');
});

test('a sentence begins with a capital letter or goes on with a small one, also of two code units', () => {
    assert.deepEqual([capital('über'), capital('𐐨b'), capital('')], ['Über', '𐐀b', '']);
    assert.equal(small('The fastest'), 'the fastest');
});
