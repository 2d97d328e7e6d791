// The tile, the panel's icon and the menu, for every state that the contract allows.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {NOTHING, Presence} from '../../gnome-extension/shared/daemon.js';
import {chosen, dashboardUri, menuView as menuViewOn, OWN_ID, panelView, tileView, title} from '../../gnome-extension/viewModel.js';
import {backend, efficiency, fleet, running, TABLE} from './daemonStates.mjs';

const DESKTOP = {nameOf: id => id.split('.').at(-1), timeOf: unixSeconds => `${unixSeconds}`};
const menuView = state => menuViewOn(state, DESKTOP);
const UP = fleet(backend());
const in_ = (...told) => running({backends: UP, efficiency: efficiency(...told)});
const sentence = (...told) => menuView(in_(...told)).header.sentence;
const labels = rows => rows.map(({label}) => label);
const lines = ({notes, fleet: rows}) => [...notes, ...rows].map(({name = '', status}) => name || status);

for (const {mode: token, label} of TABLE.filter(({mode}) => mode !== 'Auto')) {
    test(`in ${token} the tile says so and is off, and the menu checks it`, () => {
        const {subtitle, checked} = tileView(in_(token));
        assert.deepEqual([title(), subtitle, checked], ['AI Efficiency', label, false]);
        const rows = menuView(in_(token)).modes;
        assert.deepEqual(rows.filter(mode => mode.checked).map(mode => mode.asks), [chosen(token)]);
        assert.deepEqual(rows.filter(mode => mode.inUse), []);
    });
    test(`in Auto over ${token} the tile says ${token} alone, in blue, and the menu marks both`, () => {
        const state = in_('Auto', token, 'on battery');
        const {subtitle, checked, icon} = tileView(state);
        assert.deepEqual([subtitle, checked, icon], [label, true, 'ai-mode-auto']);
        const rows = menuView(state).modes;
        assert.deepEqual(rows.filter(mode => mode.checked).map(mode => mode.asks), [chosen('Auto')]);
        assert.deepEqual(rows.filter(mode => mode.inUse === 'In use').map(mode => mode.asks), [chosen(token)]);
    });
}

for (const [presence, subtitle, says, start] of [
    [Presence.MISSING, 'Not installed', 'ollama-proxyd is not installed', 'How to Install'],
    [Presence.ABSENT, 'Not running', 'Requests are not served until it is started', 'Start'],
    [Presence.STARTING, 'Starting…', 'Starting…', ''],
    [Presence.LOADING, 'Connecting…', 'Connecting…', ''],
    [Presence.SILENT, 'Not answering', 'Not answering', 'Try Again'],
]) {
    test(`a daemon that is ${presence} shows “${subtitle}” and neither modes nor figures`, () => {
        const state = {...running({backends: UP}), presence};
        assert.deepEqual([tileView(state).subtitle, tileView(state).checked], [subtitle, false]);
        const {header, modes, holds, fleet: rows, ways, start: offered} = menuView(state);
        assert.deepEqual([header.sentence, labels(offered).join()], [says, start]);
        assert.deepEqual([modes, holds, rows, labels(ways)], [[], [], [], ['AI Efficiency Settings']]);
        assert.equal(panelView(state, 'always').visible, false);
    });
}

test('trouble wins in the tile', () => {
    const subtitle = more => tileView(running({...more, efficiency: efficiency('Balanced')})).subtitle;
    assert.equal(subtitle({backends: fleet(backend({Health: 'down'}))}), 'No backend is up');
    assert.equal(subtitle({backends: {}}), 'No backends');
    assert.equal(tileView(running({backends: {}})).icon, 'ai-state-down');
});

test('a daemon that cannot tell says what went wrong, however long that is', () => {
    const silent = trouble => menuView({...NOTHING, presence: Presence.SILENT, trouble});
    assert.equal(silent('no such interface').header.sentence, 'No such interface');
    const long = 'the state file /home/somebody/.local/state/state.json is damaged';
    assert.deepEqual([silent(long).header.sentence, lines(silent(long))], ['', [`T${long.slice(1)}`]]);
});

test('a daemon that tells little of its mode breaks nothing', () => {
    const state = running({backends: UP, efficiency: {}});
    assert.equal(tileView(state).subtitle, 'Unknown mode');
    assert.equal(menuView(state).modes.length, TABLE.length);
    assert.equal(tileView(running({backends: UP, efficiency: {CurrentMode: 'Quiet'}})).subtitle, 'Quiet');
});

test('the header says the mode in force and why, and of a mode chosen by hand what it is', () => {
    assert.equal(sentence('Quiet'), 'Quiet: slow fans and a cool lap');
    assert.equal(sentence('Balanced'), 'Balanced: a quick answer at a fair cost');
    assert.equal(sentence('Auto', 'Efficiency', 'x', {ReasonCode: 'battery_low', ReasonDetails: {battery_percent: 43, limit_percent: 50}}),
        'Efficiency: battery below 50%');
    assert.equal(sentence('Auto', 'Balanced', ''), 'Balanced');
});

const HELD = {
    ActiveHolds: [{Cookie: 1, Profile: 'Quiet', Reason: 'a call', ApplicationId: 'org.gnome.Calls', Owner: ':1.9'}],
    ReasonCode: 'held', ReasonDetails: {application_id: 'org.gnome.Calls', detail: 'a call'},
};

test('a hold is told by the name of its program, beside the mode that was chosen', () => {
    assert.equal(sentence('Performance', 'Quiet', 'held by', HELD), 'Quiet: held by Calls');
    assert.equal(sentence('Quiet', 'Quiet', 'held by', HELD), 'Quiet: held by Calls');
    const {subtitle, icon} = tileView(in_('Performance', 'Quiet', 'held by', HELD));
    assert.deepEqual([subtitle, icon], ['Quiet', 'ai-mode-quiet']);
});

test('Performance can be held for an hour, which the header tells by the clock, and any hold can be ended', () => {
    const rows = ActiveHolds => menuView(in_('Balanced', 'Balanced', '', {ActiveHolds})).holds;
    const asks = chosen('Balanced'); // which ends every hold
    assert.deepEqual(rows([]), [{label: 'Performance for 1 Hour', asks: ['HoldModeFor', '(sssu)', ['Performance', '', OWN_ID, 3600]]}]);
    assert.deepEqual(rows(HELD.ActiveHolds), [{label: 'Release from Calls', asks, application: 'org.gnome.Calls'}]);
    const own = {ApplicationId: OWN_ID, Profile: 'Performance', EndsUnixSeconds: 1_800_000_000};
    assert.deepEqual(rows([own]), [{label: 'Stop Now', asks, application: OWN_ID}]);
    assert.deepEqual(rows([own, ...HELD.ActiveHolds]), [{label: 'Release All Holds', asks}]);
    const told = {ActiveHolds: [own], ReasonCode: 'held', ReasonDetails: {application_id: OWN_ID}};
    assert.match(sentence('Balanced', 'Performance', 'held', told), /^Performance until 1800000000$/);
});

test('Performance can be held until the battery is full, while it is charged and nothing is held', () => {
    const held = more => menuView(in_('Balanced', 'Balanced', '', more)).holds;
    const untilCharged = {label: 'Performance Until Charged', asks: ['HoldModeUntilCharged', '(sss)', ['Performance', '', OWN_ID]]};
    assert.deepEqual(held({Charging: true})[1], untilCharged);
    for (const more of [{Charging: false}, {}, {Charging: true, ...HELD}])
        assert.equal(held(more).length, 1);
    const own = {ApplicationId: OWN_ID, Profile: 'Performance', EndsUnixSeconds: 1_800_000_000, UntilCharged: true};
    const told = {ActiveHolds: [own], ReasonCode: 'held', ReasonDetails: {application_id: OWN_ID}};
    assert.equal(sentence('Balanced', 'Performance', 'held', told), 'Performance until charged');
});

test('models can be unloaded where some are in memory', () => {
    const unloads = LoadedModels => labels(menuView(running({backends: fleet(backend({LoadedModels}))})).ways).includes('Unload Models');
    assert.deepEqual([['qwen3:4b'], [], undefined].map(unloads), [true, false, false]);
});

test('a sentence that is too long for the header has a row of its own', () => {
    const why = `because ${'of this '.repeat(10).trim()}`;
    const {header, notes} = menuView(in_('Auto', 'Quiet', why));
    assert.deepEqual([header.sentence, notes], ['', [{status: `Quiet: ${why}`}]]);
});

test('right to left, where the Shell cuts what is below the title, the sentence has a row of its own', () => {
    const {header, notes} = menuViewOn(in_('Quiet'), {...DESKTOP, isRightToLeft: true});
    assert.deepEqual([header.sentence, notes], ['', [{status: 'Quiet: slow fans and a cool lap'}]]);
});

test('a mode is read out with its description and whether it is in use', () => {
    const names = menuView(in_('Auto', 'Quiet', 'x')).modes.map(mode => mode.accessibleName);
    assert.ok(names.includes('Quiet, In use: Slow fans and a cool lap'));
});

test('a seventh mode is shown like the others', () => {
    const Modes = [...TABLE, {mode: 'Turbo', label: 'Turbo', description: ''}];
    const {modes} = menuView(in_('Turbo', 'Turbo', 'as chosen', {Modes}));
    assert.deepEqual([modes.length, modes.at(-1).checked, modes.at(-1).icon], [7, true, 'ai-mode-other']);
});

test('the panel\'s icon follows the preference and the work, and believes the number of all requests first', () => {
    const shown = (when, InFlight, n) => panelView(
        running({fleet: {InFlight}, backends: fleet(backend({InFlight: n}), backend({Id: 'npu'}))}), when).visible;
    assert.deepEqual(['never', 'working', 'always'].map(when => shown(when, 0, 0)), [false, false, true]);
    assert.deepEqual(['never', 'working', 'always'].map(when => shown(when, 2, 0)), [false, true, true]);
    assert.deepEqual([shown('working', 0, 1), shown('working', undefined, 1)], [false, true]);
});

test('the panel\'s icon is that of the mode in force', () => {
    const {icon, accessible_name: name} = panelView(in_('Auto', 'Quiet', 'x'), 'always');
    assert.deepEqual([icon, name], ['ai-mode-quiet', 'AI Efficiency: Quiet']);
});

const DAY = {requests: 5, energy_joules: 5400};
for (const [what, today, line] of [
    ['with a saving', {...DAY, saved_joules: 1800}, 'Today 1.5 Wh · 25% less than Performance'],
    ['of estimates', {...DAY, saved_joules: 1800, energy_source: 'estimated'}, 'Today ≈ 1.5 Wh · 25% less than Performance'],
    ['of readings that were shared out', {...DAY, energy_source: 'attributed'}, 'Today ≈ 1.5 Wh'],
    ['of readings', {...DAY, energy_source: 'measured', energy_error_joules: 540}, 'Today 1.5 Wh'],
    ['with a loss', {...DAY, saved_joules: -1800}, 'Today 1.5 Wh · 50% more than Performance'],
    ['without a difference', {...DAY, saved_joules: 9}, 'Today 1.5 Wh'],
    ['with an unknown saving', {...DAY, saved_joules: NaN}, 'Today 1.5 Wh'],
    ['with tails', {...DAY, spent_watt_hours: 2}, 'Today 2 Wh'],
    ['with money', {...DAY, money_spent: {USD: 0.01234, EUR: 2}}, 'Today 1.5 Wh · 0.012 USD · 2 EUR'],
    ['with money and a saving', {...DAY, money_spent: {USD: 0.01}, saved_joules: 1800}, 'Today 1.5 Wh · 0.01 USD'],
    ['with a budget', {...DAY, budget_watt_hours: 20, saved_joules: 1800}, 'Today 1.5 Wh of 20 Wh'],
    ['without requests', {requests: 0, energy_joules: 0}, ''],
    ['of unknown energy', {requests: 2, energy_joules: NaN}, ''],
    ['of an old daemon', undefined, ''],
]) {
    test(`a day ${what} is shown as “${line}”`, () => {
        const rows = menuView(running({backends: UP, routing: {Today: today}})).fleet.map(({status}) => status.replaceAll('\u00a0', ' '));
        assert.deepEqual(rows, ['1 backend ready', ...line ? [line] : []]);
    });
}

test('an engine that ended has a row, unless that of its backend says so already', () => {
    const ended = {backend: 'igpu', model: 'phi4', reason: 'x', reason_code: 'engine_ended', reason_details: {detail: 'killed'}};
    const names = more => menuView(running({backends: fleet(backend(more)), fleet: {EnginesEnded: [ended]}})).fleet
        .map(({name}) => name).filter(Boolean);
    assert.deepEqual(names({}), ['phi4']);
    assert.deepEqual(names({Reason: 'it did not load phi4'}), ['iGPU']);
});

test('requests that wait, also for the charger, are counted in the backends\' line', () => {
    const line = told => lines(menuView(running({backends: UP, fleet: told}))).join();
    assert.equal(line({WaitingByPriority: {normal: 2, critical: 1}, Deferred: 3}), '1 backend ready · 6 waiting');
    for (const told of [{}, {WaitingByPriority: {normal: 0}, Deferred: 0}, {WaitingByPriority: 'x', Deferred: NaN}])
        assert.equal(line(told), '1 backend ready');
});

test('the dashboard is below the endpoint, where there is one that a browser takes', () => {
    const uri = (Endpoint, presence = Presence.RUNNING) => dashboardUri({...NOTHING, presence, routing: {Endpoint}});
    assert.equal(uri('http://127.0.0.1:8080'), 'http://127.0.0.1:8080/dashboard');
    assert.equal(uri('https://box.example/ai/'), 'https://box.example/ai/dashboard');
    for (const endpoint of [undefined, '', 7, 'file:///etc', 'javascript:alert(1)', 'http://', 'http:// x'])
        assert.equal(uri(endpoint), null);
    assert.equal(uri('http://127.0.0.1:8080', Presence.ABSENT), null);
});
