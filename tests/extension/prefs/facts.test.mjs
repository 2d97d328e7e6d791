import assert from 'node:assert/strict';
import {test} from 'node:test';

import {backendFacts, daemonFacts, dayFacts, deviceFacts, engineFacts, powerFacts} from '../../../gnome-extension/prefs/facts.js';
import {NOTHING} from '../../../gnome-extension/shared/daemon.js';

const NAN = Number.NaN;
const BACKEND = {
    Id: 'npu', Name: 'The NPU', Hardware: 'npu', Health: 'up', Reason: '', Models: ['qwen3:4b', 'phi4'], InFlight: 0,
    TokensPerSecond: 9.84, PowerWatts: 3, TemperatureCelsius: 41.4, Asleep: false, Unknown: {},
    Engine: 'ollama', Endpoint: 'http://127.0.0.1:11434',
};
const text = (thing, title) => thing.facts.find(each => each.title === title)?.text.replaceAll('\u00a0', ' ');
const backend = changes => backendFacts({...BACKEND, ...changes});

test('what is known of a backend is told with its unit', () => {
    const npu = backend({});
    assert.equal(npu.title, 'The NPU');
    assert.equal(npu.subtitle, 'NPU · Ready');
    assert.equal(text(npu, 'Engine'), 'ollama');
    assert.equal(text(npu, 'Address'), 'http://127.0.0.1:11434');
    assert.equal(text(npu, 'Models'), 'qwen3:4b, phi4');
    assert.equal(text(npu, 'Measured speed'), '9.8 tok/s');
    assert.equal(text(npu, 'Temperature'), '41 °C');
    assert.equal(text(npu, 'Power draw'), '3 W');
    assert.equal(text(npu, 'Sleep'), 'Awake');
});

test('what is not known of a backend is told with its reason, and never as a number', () => {
    const npu = backend({
        PowerWatts: NAN, TemperatureCelsius: NAN, TokensPerSecond: NAN,
        Unknown: {PowerWatts: {reason: 'no sensor'}, TemperatureCelsius: {reason: 'no thermometer'}, TokensPerSecond: {reason: 'no request yet'},
            Asleep: {reason: 'it is elsewhere'}},
    });
    assert.equal(text(npu, 'Power draw'), 'Unknown: no sensor');
    assert.equal(text(npu, 'Temperature'), 'Unknown: no thermometer');
    assert.equal(text(npu, 'Measured speed'), 'Unknown: no request yet');
    assert.equal(text(npu, 'Sleep'), 'Unknown: it is elsewhere');
});

test('a measured 0 is a value', () => {
    assert.equal(text(backend({PowerWatts: 0}), 'Power draw'), '0 W');
});

test('a property that an old daemon lacks is unknown, not an error', () => {
    const old = backendFacts({Id: 'npu'});
    assert.equal(old.title, 'npu');
    assert.equal(old.subtitle, 'Unknown hardware · Not checked yet');
    assert.equal(text(old, 'Power draw'), 'Unknown: the daemon gives no reason');
});

test('a backend without a model says so', () => {
    assert.equal(text(backend({Models: []}), 'Models'), 'None');
});

test('a backend that is down is marked, and says why', () => {
    const down = backend({Health: 'down', Reason: 'connection refused'});
    assert.equal(down.trouble, true);
    assert.equal(down.subtitle, 'NPU · Down: connection refused');
    assert.equal(backend({}).trouble, false);
});

test('the state of a backend is told in the same words as in the menu', () => {
    const state = changes => backend(changes).subtitle.replace('NPU · ', '');
    assert.equal(state({Health: 'disabled'}), 'Off');
    assert.equal(state({Health: 'unknown'}), 'Not checked yet');
    assert.equal(state({InFlight: 1}), 'Answering');
    assert.equal(state({TooHot: true, Asleep: true}), 'Too hot: 41\u00a0°C');
    assert.equal(state({Asleep: true}), 'Asleep');
});

test('a device that sleeps is not shown with numbers from before', () => {
    const gpu = deviceFacts({id: '0000:01:00.0', hardware: 'nvidia', name: 'RTX', asleep: true,
        unknown: {temperature_celsius: {reason: 'it sleeps'}}});
    assert.equal(gpu.subtitle, 'NVIDIA GPU · asleep');
    assert.equal(text(gpu, 'Temperature'), 'Unknown: it sleeps');
    assert.equal(text(gpu, 'Sleep'), 'Asleep');
});

test('a device says how warm it is, what it draws, how its fan turns and whether it is throttled', () => {
    const cpu = deviceFacts({id: 'cpu', hardware: 'cpu', name: 'Ultra 7', asleep: false, temperature_celsius: 61.2,
        power_watts: 14.25, fan_percent: 41, fan_rpm: 2300, utilisation_percent: 17, memory_used_bytes: 9 * 2 ** 30,
        memory_total_bytes: 32 * 2 ** 30, throttling: 'thermal limit'});
    assert.equal(cpu.subtitle.replaceAll('\u00a0', ' '), 'Processor · 61 °C · 14 W · throttled');
    assert.equal(text(cpu, 'Fan'), '41% · 2,300 turns a minute');
    assert.equal(text(cpu, 'Use'), '17%');
    assert.equal(text(cpu, 'Memory in use'), '9 of 32 GiB');
    assert.equal(text(cpu, 'Throttled'), 'thermal limit');
    assert.equal(cpu.trouble, true);
});

test('a fan of which only the turns are known is told by them', () => {
    assert.equal(text(deviceFacts({id: 'cpu', fan_rpm: 900, unknown: {fan_percent: {reason: 'no maximum'}}}), 'Fan'),
        '900 turns a minute');
});

test('the engines that the daemon runs are told by their models, with those that ended', () => {
    const fleet = {
        Engines: [{backend: 'llama', model: 'phi4', phase: 'ready'}, {backend: 'llama', model: 'qwen3', phase: 'loading', loaded_percent: 7},
            {backend: 'llama', model: 'gemma3', phase: 'draining'}],
        EnginesEnded: [{backend: 'llama', model: 'phi4', reason: 'x', reason_code: 'engine_ended', reason_details: {detail: 'killed'}}],
    };
    assert.deepEqual(engineFacts(fleet).map(({title, text}) => [title, text]),
        [['phi4', 'Ready'], ['qwen3', 'Loading, 7%'], ['gemma3', 'Stopping'], ['phi4', 'Ended unexpectedly: killed']]);
    assert.equal(new Set(engineFacts(fleet).map(({id}) => id)).size, 4);
    assert.deepEqual(engineFacts({}), []);
});

const power = state => Object.fromEntries(powerFacts(state).map(({title, text: value}) => [title, value]));

test('a machine without a battery gives the reason instead of -1 %', () => {
    const words = power({BatteryPercent: -1, OnBattery: false, QuietHours: false, PowerProfile: '',
        Unknown: {BatteryPercent: {reason: 'no battery'}, OnBattery: {reason: 'no UPower'}, PowerProfile: {reason: 'no power profiles'}}});
    assert.equal(words.Battery, 'Unknown: no battery');
    assert.equal(words['Power source'], 'Unknown: no UPower');
    assert.equal(words['Power profile'], 'Unknown: no power profiles');
    assert.equal(words['Quiet hours'], 'Not now');
});

test('battery, charger and profile are told in words', () => {
    const words = power({BatteryPercent: 43, OnBattery: true, QuietHours: true, PowerProfile: 'power-saver', Unknown: {}});
    assert.deepEqual(words, {'Power source': 'On battery', 'Battery': '43%', 'Power profile': 'Power Saver',
        'Quiet hours': 'Now'});
});

test('a daemon that tells nothing of the machine is survived', () => {
    for (const value of Object.values(power({})))
        assert.equal(value, 'Unknown: the daemon gives no reason');
});

test('the day’s energy is told with how far it may be wrong and from where it is known', () => {
    const energy = Today => daemonFacts({...NOTHING, routing: {Today}}).find(each => each.title === 'Energy today').text.replaceAll('\u00a0', ' ');
    const day = {energy_joules: 5400, energy_error_joules: 2700, energy_source: 'estimated'};
    assert.equal(energy(day), '1.5 Wh · ±50% · estimated');
    assert.equal(energy({...day, energy_source: 'measured', energy_error_joules: 540, idle_tail_joules: 1800, idle_tail_error_joules: 900}),
        '2 Wh · ±20% · measured');
    assert.equal(energy({energy_joules: 5400}), '1.5 Wh');
    assert.equal(energy({...day, energy_joules: NAN}), 'Unknown: the daemon gives no reason');
});

test('a version that the daemon does not tell is unknown', () => {
    const [version, address] = daemonFacts(NOTHING);
    assert.equal(version.text, 'Unknown: the daemon gives no reason');
    assert.equal(address.text, 'Unknown: the daemon gives no reason');
    assert.equal(daemonFacts({...NOTHING, daemon: {Version: '0.2.0'}})[0].text, '0.2.0');
});

test('the last 24 hours are shares of the costliest, the costliest backend lowest, with the modes below', () => {
    const hour = (at, backends) => ({unix_seconds: 3600 * at, energy_joules: Object.values(backends).reduce((a, b) => a + b, 0), backends});
    const hours = [hour(0, {npu: 1800, igpu: 5400}), ...Array.from({length: 23}, (_each, i) => hour(i + 1, {}))];
    const modes = [{unix_seconds: -60, effective_mode: 'Balanced'}, {unix_seconds: 43200, effective_mode: 'UltraEfficiency'}];
    const told = {backends: {a: {Id: 'igpu', Name: 'Intel Arc'}}, efficiency: {}, nowS: 82800, timeOf: at => `${at / 3600}`};
    const day = dayFacts({hours, modes, history: {}}, told);
    assert.equal(day.says.replaceAll('\u00a0', ' '), '2 Wh for answers, at most 2 Wh an hour');
    assert.deepEqual(day.bars[0], [{look: 0, share: 0.75}, {look: 1, share: 0.25}]);
    assert.deepEqual(day.bars[23].map(each => each.share), [0, 0]);
    assert.deepEqual(day.stretches.map(({from, to}) => [from, to]), [[0, 0.5], [0.5, 23 / 24]]);
    assert.deepEqual(day.axis, ['0', '6', '12', '18']);
    assert.deepEqual(day.legend.map(each => each.text.replaceAll('\u00a0', ' ')), ['Intel Arc 1.5 Wh', 'npu 0.5 Wh', 'Balanced', 'Ultra Efficiency']);
    const none = dayFacts({hours: hours.slice(1), modes: [], history: {reason: 'the history is off'}}, told);
    assert.deepEqual([none.says, none.legend], ['The history is off', []]);
});
