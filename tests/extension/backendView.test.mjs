// What is said of the backends, for every state that the contract allows.

import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {test} from 'node:test';

import {backendRow, endedRows, fleetLine, fleetTrouble, troubleRows} from '../../gnome-extension/viewModel.js';
import {backend, fleet} from './daemonStates.mjs';

const BUSY = {InFlight: 1, TokensPerSecond: 22.6, PowerWatts: 12};
const DOWN = {Health: 'down', Reason: 'connection refused'};

const OUTSIDE = {
    reason: 'x', reason_code: 'outside_mode', reason_details: {limits: [
        {reason: 'x', reason_code: 'limit_power', reason_details: {power_watts: 55, limit_watts: 15}},
        {reason: 'x', reason_code: 'limit_throttling', reason_details: {detail: 'power cap'}},
    ]},
};

for (const [what, told, state, status] of [
    ['up', {}, 'ready', 'Ready'],
    ['asleep', {Asleep: true}, 'asleep', 'Asleep'],
    ['at work', BUSY, 'working', 'Answering'],
    ['beyond the mode', {OutsideMode: OUTSIDE}, 'outside', 'Not in this mode: 55\u00a0W > 15\u00a0W, throttled: power cap'],
    ['beyond the mode and at work', {...BUSY, OutsideMode: OUTSIDE}, 'working', 'Answering'],
    ['too hot', {TooHot: true}, 'hot', 'Too hot'],
    ['too hot with a thermometer', {TooHot: true, TemperatureCelsius: 91.4}, 'hot', 'Too hot: 91\u00a0°C'],
    ['too hot and at work', {...BUSY, TooHot: true}, 'working', 'Answering'],
    ['too hot and kept to its rate', {TooHot: true, RestingUntilUnixSeconds: 1800000000}, 'resting',
        `Resting until ${new Date(1.8e12).toLocaleTimeString()}`],
    ['kept to its rate', {...BUSY, RestingUntilUnixSeconds: 1800000000}, 'resting',
        `Resting until ${new Date(1.8e12).toLocaleTimeString()}`],
    ['not kept to a rate', {RestingUntilUnixSeconds: NaN}, 'ready', 'Ready'],
    ['disabled', {Health: 'disabled', Enabled: false, Reason: 'switched off'}, 'off', 'Off'],
    ['disabled, as told a moment before its state', {Enabled: false}, 'off', 'Off'],
    ['down', DOWN, 'down', 'Down: connection refused'],
    ['down without a reason', {Health: 'down'}, 'down', 'Down'],
    ['failing', {Health: 'failing', Reason: 'it is busy'}, 'down', 'Failing: it is busy'],
    ['worse than it should be', {Reason: 'the engine fell back to the CPU'}, 'degraded',
        'Degraded: the engine fell back to the CPU'],
    ['not checked yet', {Health: 'unknown', Reason: 'not checked yet'}, 'unknown', 'Not checked yet'],
    ['in a state of the future', {Health: 'upgrading'}, 'unknown', 'Not checked yet'],
]) {
    test(`a backend that is ${what} says “${status}”`, () => {
        const row = backendRow(backend(told));
        assert.deepEqual([row.state, row.status], [state, status]);
    });
}

test('a backend is called by its name, else by its id', () => {
    assert.equal(backendRow({Id: 'npu', Health: 'up'}).name, 'npu');
    assert.equal(backendRow({}).name, 'Unnamed backend');
});

test('only those in trouble have rows, the worst first, each with a sign', () => {
    const rows = troubleRows(fleet(
        backend({Id: 'a', Name: 'A'}), backend({Id: 'b', Name: 'B', TooHot: true}), backend({Id: 'c', Name: 'C', Reason: 'slow'}),
        backend({Id: 'd', Name: 'D', Enabled: false}), backend({Id: 'e', Name: 'E', ...DOWN}),
        backend({Id: 'attic/f', Name: 'F on attic', Machine: 'attic', ...DOWN}),
    ));
    assert.deepEqual(rows.map(({name}) => name), ['E', 'C', 'B']);
    assert.equal(rows[0].status, 'Down: connection refused');
    for (const {icon} of rows)
        assert.ok(existsSync(new URL(`../../gnome-extension/icons/${icon}-symbolic.svg`, import.meta.url)), icon);
});

for (const [what, backends, waiting, line] of [
    ['none', [], 0, 'No backends are configured'],
    ['all of them idle', [backend(), backend({Id: 'npu', Asleep: true}), backend({Id: 'off', Enabled: false})], 0, '2 backends ready'],
    ['one idle', [backend()], 0, '1 backend ready'],
    ['one idle beside a hot one', [backend(), backend({Id: 'npu', TooHot: true})], 0, '1 backend ready'],
    ['one beyond the mode', [backend(), backend({Id: 'gpu', OutsideMode: OUTSIDE})], 0, '1 backend ready · 1 not in this mode'],
    ['all beyond the mode', [backend({OutsideMode: OUTSIDE})], 1, '0 backends ready · 1 not in this mode · 1 waiting'],
    ['a hot one alone', [backend({TooHot: true})], 0, ''],
    ['one at work', [backend({...BUSY, Name: 'Intel Arc'}), backend({Id: 'npu'})], 0,
        'Intel Arc answers · 23\u00a0tok/s · 12\u00a0W'],
    ['one at work of which little is known', [backend({InFlight: 1})], 2, 'iGPU answers · 2 waiting'],
    ['two at work', [backend(BUSY), backend({...BUSY, Id: 'npu'})], 0, '2 backends answer · 24\u00a0W'],
    ['all down', [backend(DOWN), backend({...DOWN, Id: 'npu'})], 0, 'No backend is up'],
    ['the only one that is on down', [backend(DOWN), backend({Id: 'npu', Enabled: false})], 0, 'No backend is up'],
    ['all off', [backend({Enabled: false})], 0, 'Backends are off'],
    ['none checked yet', [backend({Health: 'unknown'})], 0, 'Not checked yet'],
])
    test(`the line of a fleet with ${what}: “${line}”`, () => assert.equal(fleetLine({backends: fleet(...backends), fleet: {Deferred: waiting}}), line));

test('an engine that the daemon starts is told until it serves, and several by their number', () => {
    const line = (...Engines) => fleetLine({backends: fleet(backend()), fleet: {Engines}});
    const engine = {backend: 'llama', model: 'qwen3:4b', phase: 'loading'};
    assert.equal(line(engine), '1 backend ready · qwen3:4b: loading');
    assert.equal(line({...engine, loaded_percent: 40}), '1 backend ready · qwen3:4b: loading, 40%');
    assert.equal(line({...engine, phase: 'waiting'}), '1 backend ready · qwen3:4b: waiting for memory');
    assert.equal(line(engine, {...engine, model: 'phi4'}), '1 backend ready · 2 models are loading');
    assert.equal(line({...engine, phase: 'ready'}), '1 backend ready');
    assert.equal(fleetLine({backends: fleet(backend()), fleet: {Engines: 'none', Deferred: 'x'}}), '1 backend ready');
});

test('an engine that ended unasked or did not load has a row in trouble, with its last words', () => {
    const told = {model: 'qwen3:4b', reason: 'the process of qwen3:4b ended unasked: killed', reason_details: {detail: 'killed'}};
    const [ended, failed, odd] = endedRows({EnginesEnded: [
        {...told, reason_code: 'engine_ended'}, {model: 'phi4', reason: 'no such file', reason_code: 'engine_not_loaded'}, null]});
    assert.deepEqual([ended.name, ended.status], ['qwen3:4b', 'Ended unexpectedly: killed']);
    assert.deepEqual([failed.status, odd.name], ['Could not be loaded: no such file', '']);
    assert.deepEqual(endedRows({}), []);
});

test('while one can serve, or is not checked yet, the tile has no trouble to tell', () => {
    assert.equal(fleetTrouble(fleet(backend(DOWN), backend({Id: 'npu'}))), '');
    assert.equal(fleetTrouble(fleet(backend({Health: 'unknown'}))), '');
    assert.equal(fleetTrouble({'/x': null}), '');
});

test('why a backend fails is told in the person’s language, by its code', () => {
    const words = {
        'it refuses connections': 'sie weist Verbindungen ab', '{reason}; tried again in {left_seconds} s': '{reason}; neuer Versuch in {left_seconds} s',
    };
    globalThis.translate = message => words[message];
    const cause = {reason: 'it refuses connections', reason_code: 'fails_refused', reason_details: {}};
    const told = {Health: 'down', Reason: 'x', ReasonCode: 'failing', ReasonDetails: {reason: cause, left_seconds: 7}};
    assert.equal(backendRow(backend(told)).status, 'Down: sie weist Verbindungen ab; neuer Versuch in 7\u00a0s');
    delete globalThis.translate;
});
