import assert from 'node:assert/strict';
import {test} from 'node:test';

import {keyedRows} from '../../../gnome-extension/prefs/machinePage.js';

function list() {
    const there = [];
    let made = 0;
    const show = keyedRows(() => {
        made++;
        const row = {};
        return {row, show: item => (row.text = item.text)};
    }, row => there.push(row), row => there.splice(there.indexOf(row), 1));
    return {there, rows: {show}, made: () => made, texts: () => there.map(({text}) => text)};
}

test('a thing that is still there keeps its row, and its row shows the new value', () => {
    const {there, rows, made, texts} = list();
    rows.show([{id: 'a', text: '1'}, {id: 'b', text: '2'}]);
    const [row] = there;
    rows.show([{id: 'a', text: '3'}, {id: 'b', text: '2'}]);
    assert.equal(there[0], row);
    assert.deepEqual(texts(), ['3', '2']);
    assert.equal(made(), 2);
});

test('a thing that went takes its row with it, and one that came stands in its place', () => {
    const {there, rows, texts} = list();
    rows.show([{id: 'a', text: 'a'}, {id: 'c', text: 'c'}]);
    const [, kept] = there;
    rows.show([{id: 'b', text: 'b'}, {id: 'c', text: 'c'}]);
    assert.deepEqual(texts(), ['b', 'c']);
    assert.equal(there[1], kept);
    rows.show([]);
    assert.deepEqual(there, []);
});
