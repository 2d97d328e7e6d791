// The modes as the daemon tells them, and which comes next.

import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {test} from 'node:test';

import {AUTO, listModes, modeIcon, modeOf, nextMode, otherSide} from '../../gnome-extension/modes.js';
import {efficiency, TABLE} from './daemonStates.mjs';

const TOKENS = TABLE.map(({mode}) => mode);

test('the modes are those that the daemon tells, Auto first', () => {
    const listed = listModes(efficiency('Quiet')).map(mode => mode.token);
    assert.deepEqual(listed, ['Auto', 'Performance', 'Balanced', 'Efficiency', 'Quiet', 'UltraEfficiency']);
});

test('a mode that nobody knew before is listed with the daemon\'s label and a general icon', () => {
    const told = efficiency('Turbo', 'Turbo', '', {Modes: [...TABLE, {mode: 'Turbo', label: 'Turbo!', description: ''}]});
    assert.deepEqual(listModes(told).at(-1), {token: 'Turbo', label: 'Turbo!', description: ''});
    assert.equal(modeIcon('Turbo'), 'ai-mode-other');
    assert.equal(modeIcon('constructor'), 'ai-mode-other');
});

test('each mode has an icon of its own, and its file is there', () => {
    const icons = TOKENS.map(modeIcon);
    assert.equal(new Set(icons).size, TOKENS.length);
    for (const icon of [...icons, modeIcon('Turbo')])
        assert.ok(existsSync(new URL(`../../gnome-extension/icons/${icon}-symbolic.svg`, import.meta.url)), icon);
});

test('an old daemon that tells no list of modes has the six that there always were', () => {
    for (const Modes of [undefined, [], 'x', [{label: 'no token'}], [null]]) {
        const listed = listModes({CurrentMode: 'Quiet', Modes});
        assert.deepEqual(new Set(listed.map(mode => mode.token)), new Set(TOKENS));
        assert.equal(listed[0].token, AUTO);
    }
});

test('a mode without a label is called by its token, and one that is not listed, too', () => {
    assert.equal(listModes({Modes: [{mode: 'Odd'}]})[0].label, 'Odd');
    assert.equal(modeOf(efficiency('Quiet'), 'Gone').label, 'Gone');
});

test('labels are translated where the daemon\'s words are the usual ones, and a missing one never', () => {
    const asked = [];
    globalThis.translate = message => {
        asked.push(message);
        return message === 'Quiet' ? 'Leise' : message;
    };
    assert.equal(modeOf(efficiency('Quiet'), 'Quiet').label, 'Leise');
    listModes({Modes: [{mode: 'Odd', description: ''}]});
    delete globalThis.translate;
    assert.ok(!asked.includes('')); // gettext answers the empty message with its header
});

test('cycling goes through every mode once and comes back', () => {
    let token = AUTO;
    const seen = TOKENS.map(() => (token = nextMode(efficiency(token))));
    assert.equal(new Set(seen).size, TOKENS.length);
    assert.equal(token, AUTO);
});

test('cycling from a mode that is not listed begins at the first', () => {
    assert.equal(nextMode(efficiency('Gone')), AUTO);
    assert.equal(nextMode({}), AUTO);
});

for (const token of TOKENS.filter(each => each !== AUTO)) {
    test(`a click on the tile goes from ${token} to Auto and back`, () => {
        assert.equal(otherSide(efficiency(token), token), AUTO);
        assert.equal(otherSide(efficiency(AUTO, 'Quiet'), token), token);
    });
}

test('a last mode that there is no more gives way to Balanced, and where that is gone to the first by hand', () => {
    assert.equal(otherSide(efficiency(AUTO), 'Gone'), 'Balanced');
    assert.equal(otherSide(efficiency(AUTO), ''), 'Balanced');
    const few = {CurrentMode: AUTO, Modes: [{mode: AUTO}, {mode: 'Slow'}]};
    assert.equal(otherSide(few, 'Gone'), 'Slow');
    assert.equal(otherSide({CurrentMode: AUTO, Modes: [{mode: AUTO}]}, 'Gone'), AUTO);
});
