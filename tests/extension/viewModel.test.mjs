// The tile, the panel's icon and the menu, for every state that the contract allows.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {NOTHING, Presence} from '../../gnome-extension/shared/daemonState.js';
import {dashboardUri, menuView, panelView, tileView} from '../../gnome-extension/viewModel.js';
import {backend, efficiency, ENGLISH, fleet, running, TABLE} from './daemonStates.mjs';

const tile = state => tileView(state, ENGLISH);
const menu = state => menuView(state, ENGLISH);
const sentence = told => menu(running({efficiency: told})).header.sentence;
const routing = (LastDecision, Today = {}) => running({
    routing: {LastDecision, Today}, backends: fleet(backend(), backend({Id: 'npu', Name: 'NPU'})),
});

for (const {mode: token, label} of TABLE.filter(({mode}) => mode !== 'Auto')) {
    test(`in ${token} the tile says so and is off`, () => {
        const view = tile(running({efficiency: efficiency(token)}));
        assert.deepEqual([view.title, view.subtitle, view.checked], ['AI Efficiency', label, false]);
    });
    test(`in Auto over ${token} the tile says both and is on`, () => {
        const view = tile(running({efficiency: efficiency('Auto', token, 'on battery')}));
        assert.deepEqual([view.subtitle, view.checked, view.icon], [`Auto · ${label}`, true, 'ai-mode-auto']);
    });
    test(`${token} is the one that is checked in the menu`, () => {
        const checked = menu(running({efficiency: efficiency(token)})).modes.filter(mode => mode.checked);
        assert.deepEqual(checked.map(mode => mode.token), [token]);
    });
}

for (const [presence, subtitle, says, start] of [
    [Presence.ABSENT, 'Not running', 'Requests are not served until it is started', 'Start'],
    [Presence.STARTING, 'Starting…', 'Starting…', null],
    [Presence.LOADING, 'Connecting…', 'Connecting…', null],
    [Presence.SILENT, 'Not answering', 'Not answering', 'Try Again'],
]) {
    test(`a daemon that is ${presence} shows “${subtitle}” and neither modes nor figures`, () => {
        const state = {...running({backends: fleet(backend())}), presence};
        assert.deepEqual([tile(state).subtitle, tile(state).checked], [subtitle, false]);
        const {header, modes, backends, queue, last, today, dashboard, start: offered} = menu(state);
        assert.deepEqual([header.sentence, offered], [says, start]);
        assert.deepEqual([modes, backends, queue, last, today, dashboard], [[], [], null, null, null, null]);
        assert.equal(panelView(state, 'always', ENGLISH).visible, false);
    });
}

test('a daemon that cannot tell says what went wrong', () => {
    const state = {...NOTHING, presence: Presence.SILENT, trouble: 'no such interface'};
    assert.equal(menu(state).header.sentence, 'No such interface');
});

test('of an old daemon that does not tell its backends is not said that it has none', () => {
    assert.equal(menu(running()).more, 'No backends are configured');
    assert.equal(menu(running({lacksBackends: true})).more, '');
});

test('of a daemon that never answered is said just that', () => {
    const state = {...NOTHING, presence: Presence.SILENT, trouble: ''};
    assert.deepEqual([tile(state).subtitle, menu(state).header.sentence], ['Not answering', 'Not answering']);
});

test('an old daemon that tells nothing of its mode breaks nothing', () => {
    const state = running({efficiency: {}});
    assert.equal(tile(state).subtitle, 'Unknown mode');
    assert.equal(menu(state).modes.length, TABLE.length);
    assert.equal(menu(state).header.sentence, 'The daemon does not say why');
});

test('an old daemon that tells only the chosen mode shows it', () => {
    assert.equal(tile(running({efficiency: {CurrentMode: 'Quiet'}})).subtitle, 'Quiet');
});

test('the header says why the mode is in force', () => {
    assert.equal(sentence(efficiency('Auto', 'Balanced', 'on battery at 43 %')), 'On battery at 43 %');
    assert.equal(sentence(efficiency('Quiet')), 'Quiet, as chosen');
    assert.equal(sentence(efficiency('Balanced', 'Balanced', '')), 'Balanced, as chosen');
    assert.equal(sentence(efficiency('Auto', 'Balanced', '')), 'The daemon does not say why');
});

test('a hold shows both modes and who holds', () => {
    const held = efficiency('Performance', 'Quiet', 'held by org.example.Talk: a call', {
        ActiveHolds: [{cookie: 1, mode: 'Quiet', reason: 'a call', application_id: 'org.example.Talk', owner: ':1.9'}],
    });
    assert.equal(tile(running({efficiency: held})).subtitle, 'Performance · Quiet');
    assert.equal(sentence(held), 'Held by org.example.Talk: a call');
    const same = {...held, CurrentMode: 'Quiet'};
    assert.equal(sentence(same), 'Held by org.example.Talk: a call');
});

test('a mode is read out with its description', () => {
    const names = menu(running()).modes.map(mode => mode.accessibleName);
    assert.ok(names.includes('Quiet: Slow fans and a cool lap'));
});

test('a seventh mode is shown like the others', () => {
    const Modes = [...TABLE, {mode: 'Turbo', label: 'Turbo', description: ''}];
    const {modes} = menu(running({efficiency: efficiency('Turbo', 'Turbo', 'as chosen', {Modes})}));
    assert.deepEqual([modes.length, modes.at(-1).checked, modes.at(-1).icon], [7, true, 'ai-mode-other']);
});

test('the panel\'s icon follows the preference and the work', () => {
    const idle = running({backends: fleet(backend(), backend({Id: 'npu'}))});
    const busy = running({backends: fleet(backend(), backend({Id: 'npu', InFlight: 2}))});
    const shown = (state, when) => panelView(state, when, ENGLISH).visible;
    assert.deepEqual(['never', 'working', 'always'].map(when => shown(idle, when)), [false, false, true]);
    assert.deepEqual(['never', 'working', 'always'].map(when => shown(busy, when)), [false, true, true]);
});

test('the panel believes the number of all requests before that of each backend, which is heard of more seldom', () => {
    const shown = (InFlight, n) => panelView(
        running({fleet: {InFlight}, backends: fleet(backend({InFlight: n}))}), 'working', ENGLISH).visible;
    assert.deepEqual([shown(1, 0), shown(0, 1), shown(undefined, 1), shown(undefined, 0)], [true, false, true, false]);
});

test('the panel\'s icon is that of the mode in force', () => {
    const view = panelView(running({efficiency: efficiency('Auto', 'Quiet')}), 'always', ENGLISH);
    assert.deepEqual([view.icon, view.accessibleName], ['ai-mode-quiet', 'AI Efficiency: Auto · Quiet']);
});

const LAST = {unix_seconds: 1, reason: 'r', backend: 'igpu', model: 'qwen3:4b', energy_joules: 113};
for (const [what, last, caption, value] of [
    ['with another choice', {...LAST, instead_of: 'nvidia', instead_of_joules: 178}, 'Last request, estimated',
        'qwen3:4b → iGPU, 113 J instead of 178 J'],
    ['without another choice', LAST, 'Last request, estimated', 'qwen3:4b → iGPU, 113 J'],
    ['with another that is not known', {...LAST, instead_of_joules: NaN}, 'Last request, estimated',
        'qwen3:4b → iGPU, 113 J'],
    ['of unknown energy', {...LAST, energy_joules: NaN}, 'Last request', 'qwen3:4b → iGPU'],
    ['of unknown energy beside a known one', {...LAST, energy_joules: NaN, instead_of_joules: 9}, 'Last request',
        'qwen3:4b → iGPU'],
    ['without a model', {...LAST, model: ''}, 'Last request, estimated', 'iGPU, 113 J'],
    ['on a backend that is gone', {...LAST, backend: 'old', model: 'm'}, 'Last request, estimated', 'm → old, 113 J'],
    ['that nobody could serve', {unix_seconds: 1, reason: 'no backend has the model'}, 'Last request',
        'No backend has the model'],
]) {
    test(`a last request ${what} is shown as “${value}”`, () => {
        assert.deepEqual(menu(routing(last)).last, {caption, value});
    });
}

for (const [code, cause] of [
    ['none_within_mode', 'nothing within the mode can serve'],
    ['queue_too_long', 'what is within the mode is busy'],
    ['only_candidate', 'nothing else can serve'],
]) {
    test(`a last request beyond the mode says which limit gave way, and why: ${code}`, () => {
        const limit = {reason: 'r', reason_code: 'mode_power', reason_details: {power_watts: 55, limit_watts: 15}};
        const although = {reason_code: 'although', reason_details: {
            reason: {reason: 'r', reason_code: code, reason_details: {}}, rejections: [limit],
        }};
        const again = {reason_code: 'tried_again', reason_details: {reason: {reason: 'r', ...although}}};
        for (const told of [although, again]) {
            const {value} = menu(routing({...LAST, ...told})).last;
            assert.equal(value, `qwen3:4b → iGPU, 113 J; ${cause} (55 W > 15 W)`);
        }
    });
}

test('before the first request there is none', () => {
    assert.equal(menu(routing({})).last, null);
    assert.equal(menu(routing(undefined)).last, null);
});

const DAY = {requests: 5, energy_joules: 5400};
for (const [what, today, value] of [
    ['with a saving', {...DAY, saved_joules: 1800, compared: 5}, '1.5 Wh, 0.5 Wh less than in Performance'],
    ['with a loss', {...DAY, saved_joules: -7200, compared: 5}, '1.5 Wh, 2 Wh more than in Performance'],
    ['without a difference', {...DAY, saved_joules: 0, compared: 5}, '1.5 Wh'],
    ['with nothing compared', {...DAY, saved_joules: 0, compared: 0}, '1.5 Wh'],
    ['with an unknown saving', {...DAY, saved_joules: NaN, compared: 5}, '1.5 Wh'],
    ['of an old daemon', DAY, '1.5 Wh'],
    ['with money', {...DAY, money_spent: {USD: 0.01234, EUR: 2}}, '1.5 Wh, 0.012 USD, 2 EUR'],
]) {
    test(`a day ${what} is shown as “${value}”`, () => {
        assert.deepEqual(menu(routing({}, today)).today, {caption: 'Energy today, estimated', value});
    });
}

test('a day without requests or of unknown energy is not shown', () => {
    for (const today of [undefined, {}, {requests: 0, energy_joules: 0}, {requests: 2, energy_joules: NaN}])
        assert.equal(menu(routing({}, today)).today, null);
});

test('the dashboard is below the endpoint, where there is one that a browser takes', () => {
    const uri = (Endpoint, presence = Presence.RUNNING) => dashboardUri({...NOTHING, presence, routing: {Endpoint}});
    assert.equal(uri('http://127.0.0.1:8080'), 'http://127.0.0.1:8080/dashboard');
    assert.equal(uri('https://box.example/ai/'), 'https://box.example/ai/dashboard');
    for (const endpoint of [undefined, '', 7, 'file:///etc', 'javascript:alert(1)', 'http://', 'http:// x'])
        assert.equal(uri(endpoint), null);
    assert.equal(uri('http://127.0.0.1:8080', Presence.ABSENT), null);
});

test('a reason that is too long for the header has a place of its own, and the header says the modes', () => {
    const long = `held by org.example.Talk: ${'a call '.repeat(20).trim()}`;
    const {header, note} = menu(running({efficiency: efficiency('Auto', 'Quiet', long)}));
    assert.deepEqual([header.sentence, note], ['Auto · Quiet', `H${long.slice(1)}`]);
    assert.equal(menu(running()).note, '');
});

test('what went wrong with a daemon that does not answer is shown whole, too', () => {
    const trouble = 'the state file /home/somebody/.local/state/ollama-proxyd/state.json is damaged';
    const {header, note} = menu({...NOTHING, presence: Presence.SILENT, trouble});
    assert.deepEqual([header.sentence, note], ['Not answering', `T${trouble.slice(1)}`]);
});

const waits = fleet => menu(running({fleet})).queue;
const BY_PRIORITY = {'best-effort': 1, normal: 2, high: 0, critical: 1};

test('the requests that wait are told by priority, the most urgent first, with the longest wait', () => {
    assert.deepEqual(waits({WaitingByPriority: BY_PRIORITY, OldestWaitSeconds: 12.7, Deferred: 0}),
        {caption: 'Waiting requests', value: '1 critical, 2 normal, 1 best-effort, the oldest for at least 12 s'});
});

test('requests that wait for the charger are told beside the others, and alone', () => {
    assert.equal(waits({WaitingByPriority: {normal: 1}, OldestWaitSeconds: 2, Deferred: 3}).value,
        '1 normal, the oldest for at least 2 s, 3 until the charger is plugged in');
    assert.equal(waits({WaitingByPriority: {}, OldestWaitSeconds: NaN, Deferred: 1}).value,
        '1 until the charger is plugged in');
});

test('where nothing waits, or an old daemon does not tell, nothing is said of it', () => {
    const none = {WaitingByPriority: {normal: 0, high: 0}, OldestWaitSeconds: NaN, Deferred: 0};
    for (const told of [{}, none, {WaitingByPriority: 'x', Deferred: NaN}])
        assert.equal(waits(told), null);
});
