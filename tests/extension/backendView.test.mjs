// A backend's row, for every state that the contract allows.

import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {test} from 'node:test';

import {backendRow, backendRows, MOST_ROWS} from '../../gnome-extension/backendView.js';
import {backend, ENGLISH, fleet} from './daemonStates.mjs';

const BUSY = {InFlight: 1, TokensPerSecond: 22.4, PowerWatts: 12.1};

for (const [what, told, state, status] of [
    ['up', {}, 'ready', 'ready'],
    ['asleep', {Asleep: true}, 'asleep', 'asleep'],
    ['at work', BUSY, 'working', '22 tok/s · 12 W'],
    ['at work without a power meter', {...BUSY, PowerWatts: NaN}, 'working', '22 tok/s'],
    ['at work before its speed is known', {...BUSY, TokensPerSecond: NaN}, 'working', '12 W'],
    ['at work and slow', {...BUSY, TokensPerSecond: 3.14}, 'working', '3.1 tok/s · 12 W'],
    ['at work with nothing known', {InFlight: 1}, 'working', '1 request'],
    ['at work on several with nothing known', {InFlight: 3}, 'working', '3 requests'],
    ['being woken by a request', {...BUSY, Asleep: true}, 'working', '22 tok/s · 12 W'],
    ['too hot', {TooHot: true}, 'hot', 'too hot'],
    ['too hot with a thermometer', {TooHot: true, TemperatureCelsius: 91.4}, 'hot', 'too hot · 91 °C'],
    ['too hot and asleep', {TooHot: true, Asleep: true}, 'hot', 'too hot'],
    ['too hot and yet at work', {...BUSY, TooHot: true, TemperatureCelsius: 91}, 'hot', 'too hot · 22 tok/s · 12 W'],
    ['disabled', {Health: 'disabled', Enabled: false, Reason: 'switched off'}, 'off', 'disabled'],
    ['disabled, as told a moment before its state', {Enabled: false}, 'off', 'disabled'],
    ['disabled and still at work', {...BUSY, Health: 'disabled', Enabled: false}, 'off', 'disabled'],
    ['down without a reason', {Health: 'down'}, 'down', 'down'],
    ['not checked yet', {Health: 'unknown', Reason: 'not checked yet'}, 'unknown', 'not checked yet'],
    ['in a state of the future', {Health: 'upgrading'}, 'unknown', 'not checked yet'],
    ['of an old daemon that tells no state', {Health: undefined}, 'unknown', 'not checked yet'],
]) {
    test(`a backend that is ${what} says “${status}”`, () => {
        const row = backendRow(backend(told), ENGLISH);
        assert.deepEqual([row.state, row.status, row.detail], [state, status, '']);
        assert.equal(row.accessibleName, `iGPU, ${status}`);
        assert.ok(existsSync(new URL(`../../gnome-extension/icons/${row.icon}-symbolic.svg`, import.meta.url)));
    });
}

test('a backend that is down says why, in a line of its own', () => {
    const row = backendRow(backend({Health: 'down', Reason: 'connection refused', Asleep: true, TooHot: true}), ENGLISH);
    assert.deepEqual([row.state, row.status, row.detail], ['down', '', 'down: connection refused']);
    assert.equal(row.accessibleName, 'iGPU, down: connection refused');
});

test('a backend that answers worse than it should says why, and what it does', () => {
    const Reason = 'the engine fell back to the CPU; restart it';
    const row = backendRow(backend({Reason}), ENGLISH);
    assert.deepEqual([row.state, row.status, row.detail], ['degraded', '', `degraded: ${Reason}`]);
    assert.equal(row.accessibleName, `iGPU, degraded: ${Reason}`);
    assert.ok(existsSync(new URL(`../../gnome-extension/icons/${row.icon}-symbolic.svg`, import.meta.url)));
    assert.equal(backendRow(backend({...BUSY, Reason}), ENGLISH).detail, `degraded · 22 tok/s · 12 W: ${Reason}`);
});

const OUTSIDE = {
    OutsideMode: {reason_code: 'outside_mode', reason_details: {limits: [
        {reason: 'as told', reason_code: 'limit_power', reason_details: {power_watts: 55, limit_watts: 15}},
        {reason: 'as told', reason_code: 'limit_game', reason_details: {}},
    ]}},
};

test('a backend that the mode in force uses last says why', () => {
    const row = backendRow(backend(OUTSIDE), ENGLISH);
    assert.deepEqual([row.state, row.status], ['outside', '']);
    assert.equal(row.detail, 'not in this mode: 55 W > 15 W; reserved for a running game');
    assert.equal(backendRow(backend({...OUTSIDE, ...BUSY}), ENGLISH).state, 'working');
    assert.equal(backendRow(backend({OutsideMode: {}}), ENGLISH).state, 'ready');
    assert.equal(backendRow(backend({OutsideMode: {reason_details: {limits: 'x'}}}), ENGLISH).state, 'ready');
});

test('each state has an icon of its own', () => {
    const states = [{}, OUTSIDE, {Asleep: true}, BUSY, {TooHot: true}, {Health: 'down'}, {Health: 'disabled'}, {Health: 'unknown'},
        {Reason: 'the engine fell back to the CPU'}];
    assert.equal(new Set(states.map(told => backendRow(backend(told), ENGLISH).icon)).size, states.length);
});

test('a backend of an old daemon with nothing but its state has a row', () => {
    assert.equal(backendRow({Id: 'npu', Health: 'up'}, ENGLISH).name, 'npu');
    assert.equal(backendRow({}, ENGLISH).name, 'Unnamed backend');
    assert.equal(backendRow({Health: 'up', InFlight: 'x'}, ENGLISH).status, 'ready');
});

test('a long name stays whole: the row cuts it, a screen reader does not', () => {
    const Name = 'Integrated graphics '.repeat(20).trim();
    assert.equal(backendRow(backend({Name}), ENGLISH).name, Name);
    assert.equal(backendRow(backend({Name}), ENGLISH).accessibleName, `${Name}, ready`);
});

test('without backends that is said', () => {
    assert.deepEqual(backendRows({}, ENGLISH), {rows: [], more: 'No backends are configured'});
});

test('as many as fit have rows, and the rest are counted', () => {
    const many = n => fleet(...Array.from({length: n}, (_, i) => backend({Id: `b${i}`, Name: `B${i}`})));
    assert.deepEqual([backendRows(many(MOST_ROWS), ENGLISH).rows.length, backendRows(many(MOST_ROWS), ENGLISH).more],
        [MOST_ROWS, '']);
    const {rows, more} = backendRows(many(MOST_ROWS + 3), ENGLISH);
    assert.deepEqual([rows.length, more], [MOST_ROWS, '3 more on the dashboard']);
});

test('an object without properties has a row and breaks nothing', () => {
    assert.equal(backendRows({'/x': null}, ENGLISH).rows.length, 1);
});

test('why a backend fails is told in the person’s language, by its code', () => {
    const failing = {
        Health: 'failing',
        Reason: 'it refuses connections; tried again in 7 s',
        ReasonCode: 'failing',
        ReasonDetails: {reason: {reason: 'it refuses connections', reason_code: 'fails_refused', reason_details: {}}, left_seconds: 7.3},
    };
    const german = {...ENGLISH, _: text => ({
        'it refuses connections': 'sie weist Verbindungen ab',
        '{reason}; tried again in {left_seconds} s': '{reason}; neuer Versuch in {left_seconds} s',
    }[text] ?? text)};
    assert.match(backendRow(backend(failing), german).detail, /sie weist Verbindungen ab; neuer Versuch in 7[.,]3 s/);
});

test('why a backend that is up fails for one model is told in the person’s language, too', () => {
    const cause = {reason: 'it did not load "tiny"', reason_code: 'fails_not_loaded', reason_details: {model: 'tiny'}};
    const told = {
        Health: 'up', Reason: `${cause.reason}; tried again in 7 s`, ReasonCode: 'failing',
        ReasonDetails: {reason: cause, left_seconds: 7},
    };
    const german = {...ENGLISH, _: text => ({
        'it did not load {model}': 'sie hat {model} nicht geladen',
        '{reason}; tried again in {left_seconds} s': '{reason}; neuer Versuch in {left_seconds} s',
    }[text] ?? text)};
    assert.equal(backendRow(backend(told), german).detail, 'degraded: sie hat tiny nicht geladen; neuer Versuch in 7 s');
});
