import assert from 'node:assert/strict';
import {test} from 'node:test';

import {meaning} from '../../../gnome-extension/prefs/generalPage.js';

const press = (key, ...held) => meaning({
    key,
    ...Object.fromEntries(['control', 'alt', 'super', 'shift'].map(name => [name, held.includes(name)])),
});

test('a letter with Super, Ctrl or Alt becomes the shortcut', () => {
    for (const modifier of ['super', 'control', 'alt'])
        assert.equal(press('m', modifier), 'take');
});

test('a letter alone, or with Shift, is refused: it would be lost to every text field', () => {
    assert.equal(press('m'), 'refuse');
    assert.equal(press('M', 'shift'), 'refuse');
    assert.equal(press('space'), 'refuse');
    assert.equal(press('Return'), 'refuse');
});

test('function keys and media keys need no other key', () => {
    for (const key of ['F1', 'F8', 'F12', 'XF86AudioMicMute', 'XF86Launch1', 'Pause'])
        assert.equal(press(key), 'take');
});

test('the letter F is no function key', () => {
    assert.equal(press('F'), 'refuse');
});

test('a modifier that is only held down is waited with', () => {
    for (const key of ['Super_L', 'Control_R', 'Alt_L', 'Shift_L', 'Caps_Lock', 'ISO_Level3_Shift', 'dead_acute'])
        assert.equal(press(key, 'super'), 'wait');
});

test('Escape leaves the shortcut as it is, Backspace switches it off', () => {
    assert.equal(press('Escape'), 'cancel');
    assert.equal(press('BackSpace'), 'clear');
});

test('Escape and Backspace with another key are shortcuts like any other', () => {
    assert.equal(press('Escape', 'super'), 'take');
    assert.equal(press('BackSpace', 'control', 'alt'), 'take');
});
