// SPDX-License-Identifier: MIT
// What the widgets show, worked out from what the daemon told. Pure: no Shell, no D-Bus, no clock.

import {
    JOULES_PER_WATT_HOUR, capital, dotted, energy, facts, fill, known, list, percent, power, small, speed, temperature,
    words, _, ngettext,
} from './format.js';
import {AUTO, listModes, modeIcon, modeOf, phrase, reasonOf} from './modes.js';
import {Presence} from './shared/daemon.js';

export const HOW_TO_INSTALL = 'https://fio.ie/ollama-proxy';
export const OWN_ID = 'ie.fio.OllamaProxy.Extension'; // by which its holds are known as the extension's own
const HELD = ['Performance', '', OWN_ID];
const HELD_S = 3600; // the daemon keeps the time
const LONGEST_SUBTITLE = 45; // characters that fit below the menu's title; a longer sentence has a row of its own
const WORST_FIRST = ['down', 'degraded', 'hot'];

export const title = () => _('AI Efficiency');

/** How the daemon is asked for a mode. */
export const chosen = token => ['SetMode', '(s)', [token]];

/** What is said while there is no daemon that answers: [in the tile, in a sentence, what helps]. */
export const absence = ({presence, trouble}) => ({
    [Presence.MISSING]: [_('Not installed'), _('ollama-proxyd is not installed'), _('How to Install')],
    [Presence.ABSENT]: [_('Not running'), _('Requests are not served until it is started'), _('Start')],
    [Presence.STARTING]: [_('Starting…'), _('Starting…'), ''],
    [Presence.LOADING]: [_('Connecting…'), _('Connecting…'), ''],
    [Presence.SILENT]: [_('Not answering'), capital(trouble) || _('Not answering'), _('Try Again')],
}[presence]);

export const inFlight = backend => Math.max(0, known(backend.InFlight) ?? 0);
export const isHere = backend => !words(backend.Machine); // of this machine, and not shared by a paired one
export const backendName = backend => words(backend.Name) || words(backend.Id) || _('Unnamed backend');

function stateOf(backend) {
    const {Health: health, RestingUntilUnixSeconds: until} = backend, outside = phrase(backend.OutsideMode);
    return [
        [health === 'disabled' || backend.Enabled === false, 'off', _('Off')],
        [health === 'down', 'down', _('Down')],
        [health === 'failing', 'down', _('Failing')],
        [health !== 'up', 'unknown', _('Not checked yet')],
        [words(backend.Reason), 'degraded', _('Degraded')],
        [known(until), 'resting', fill(_('Resting until {time}'), {time: new Date(1000 * until).toLocaleTimeString()})],
        [inFlight(backend) > 0, 'working', _('Answering')],
        [backend.TooHot === true, 'hot', _('Too hot')],
        [outside, 'outside', capital(outside)],
        [backend.Asleep === true, 'asleep', _('Asleep')],
        [true, 'ready', _('Ready')],
    ].find(([is]) => is).slice(1);
}

const because = (state, reason) => reason ? fill(_('{state}: {reason}'), {state, reason}) : state;

/** A backend: {id, name, state, status}; the status says why it is not well. */
export function backendRow(backend) {
    const [state, status] = stateOf(backend);
    const reason = ['down', 'degraded'].includes(state) ? phrase(reasonOf(backend)) : '';
    const why = state === 'hot' ? temperature(backend.TemperatureCelsius) : reason;
    return {id: words(backend.Id), name: backendName(backend), state, status: because(status, why)};
}

/** The rows of this machine's backends that are in trouble, the worst first: other machines come and go. */
export function troubleRows(backends) {
    const rows = Object.values(backends).map(facts).filter(isHere).map(backendRow);
    const inState = state => rows.filter(row => row.state === state).map(row => ({...row, icon: `ai-state-${state}`}));
    return WORST_FIRST.flatMap(inState);
}

/** Why no backend can serve, in as few words as the tile has room for; empty where one can. */
export function fleetTrouble(backends) {
    const states = Object.values(backends).map(each => stateOf(facts(each))[0]);
    if (states.length === 0)
        return _('No backends');
    if (states.every(state => state === 'off'))
        return _('Backends are off');
    return states.every(state => ['off', 'down'].includes(state)) ? _('No backend is up') : '';
}

function waiting({WaitingByPriority: counts, Deferred: deferred}) {
    const n = [...Object.values(facts(counts)), deferred].reduce((sum, each) => sum + (known(each) ?? 0), 0);
    return n > 0 ? fill(ngettext('{n} waiting', '{n} waiting', n), {n}) : '';
}

/** How far an engine that the daemon runs has come; empty where it serves. */
export function enginePhase({phase, loaded_percent: part}) {
    if (phase === 'waiting')
        return _('Waiting for memory');
    if (phase !== 'loading')
        return '';
    return known(part) === null ? _('Loading') : fill(_('Loading, {percent}'), {percent: percent(part)});
}

function loading({Engines: engines}) {
    const told = list(engines).filter(enginePhase);
    const n = told.length;
    return n > 1 ? fill(ngettext('{n} model is loading', '{n} models are loading', n), {n})
        : dotted(told.map(each => fill(_('{model}: {state}'), {model: each.model, state: small(enginePhase(each))})));
}

/** The rows of the models whose engine ended unasked or did not load. */
export const endedRows = ({EnginesEnded: ended}) => list(ended).map(told => {
    const state = told.reason_code === 'engine_ended' ? _('Ended unexpectedly') : _('Could not be loaded');
    const status = because(state, words(facts(told.reason_details).detail) || words(told.reason));
    return {backend: told.backend, name: words(told.model), status, icon: 'ai-state-down'};
});

function answering(working) {
    const n = working.length;
    const isOne = n === 1;
    return [
        isOne ? fill(_('{backend} answers'), {backend: backendName(working[0])})
            : fill(ngettext('{n} backend answers', '{n} backends answer', n), {n}),
        isOne && speed(working[0].TokensPerSecond),
        power(working.reduce((watts, {PowerWatts}) => watts + PowerWatts, 0)),
    ];
}

function idle(all) {
    const states = all.map(backend => stateOf(backend)[0]);
    const count = (...which) => states.filter(state => which.includes(state)).length;
    const [ready, outside, inTrouble] = [count('ready', 'asleep'), count('outside'), count(...WORST_FIRST)];
    const canServe = ready + outside > 0;
    return [
        canServe && fill(ngettext('{n} backend ready', '{n} backends ready', ready), {n: ready}),
        outside > 0 && fill(_('{n} not in this mode'), {n: outside}),
        !canServe && inTrouble === 0 && _('Not checked yet'),
    ];
}

/** What all the backends do, in one line. */
export function fleetLine({backends, fleet}) {
    const all = Object.values(backends).map(facts);
    const trouble = all.length === 0 ? _('No backends are configured') : fleetTrouble(backends);
    const working = all.filter(backend => inFlight(backend) > 0);
    return trouble || dotted([...working.length > 0 ? answering(working) : idle(all), loading(fleet), waiting(fleet)]);
}

/** The token of the mode in force, and its label. */
function inForce({efficiency}) {
    const token = words(efficiency.EffectiveMode) || words(efficiency.CurrentMode);
    return {token, label: token ? modeOf(efficiency, token).label : _('Unknown mode')};
}

/** The tile in Quick Settings: {subtitle, icon, checked}. */
export function tileView(state) {
    const isRunning = state.presence === Presence.RUNNING;
    const isAuto = !isRunning || words(state.efficiency.CurrentMode) === AUTO;
    const trouble = isRunning ? fleetTrouble(state.backends) : '';
    return {
        subtitle: isRunning ? trouble || inForce(state).label : absence(state)[0],
        icon: trouble ? 'ai-state-down' : modeIcon(isAuto ? AUTO : inForce(state).token),
        checked: isRunning && isAuto,
    };
}

/** The icon in the panel, {visible, icon, accessible_name}; `when` is the preference: never, working or always. */
export function panelView(state, when) {
    const counts = Object.values(state.backends).map(each => inFlight(facts(each)));
    const isWorking = (known(state.fleet.InFlight) ?? Math.max(0, ...counts)) > 0;
    return {
        visible: state.presence === Presence.RUNNING && (when === 'always' || (when === 'working' && isWorking)),
        icon: modeIcon(inForce(state).token),
        accessible_name: `${title()}: ${tileView(state).subtitle}`,
    };
}

/** What the mode in force is, and why. */
function sentence({efficiency}, {nameOf, timeOf}) {
    const {ActiveHolds: holds = [], CurrentMode: current} = efficiency;
    const {token, label: mode} = inForce({efficiency});
    const told = reasonOf(efficiency);
    const {application_id: id, ...details} = facts(told.reason_details);
    const own = id === OWN_ID ? facts(holds.find(hold => hold.ApplicationId === id)) : {};
    if (own.UntilCharged === true)
        return fill(_('{mode} until charged'), {mode});
    if (known(own.EndsUnixSeconds) !== null)
        return fill(_('{mode} until {time}'), {mode, time: timeOf(own.EndsUnixSeconds)});
    if (words(id))
        details.application_id = nameOf(id);
    const isChosen = current === token && current !== AUTO && holds.length === 0;
    const reason = isChosen ? small(modeOf(efficiency, current).description)
        : phrase({...told, reason_details: details}, efficiency);
    return reason ? fill(_('{mode}: {reason}'), {mode, reason}) : mode;
}

/** What ends the holds, and where there are none what holds Performance for a while. */
function holdRows({efficiency}, {nameOf}) {
    const {ActiveHolds: [hold, ...more] = [], Charging: isCharging} = efficiency;
    if (!hold) {
        const forAnHour = {label: _('Performance for 1 Hour'), asks: ['HoldModeFor', '(sssu)', [...HELD, HELD_S]]};
        const charged = {label: _('Performance Until Charged'), asks: ['HoldModeUntilCharged', '(sss)', HELD]};
        return isCharging === true ? [forAnHour, charged] : [forAnHour];
    }
    const asks = chosen(efficiency.CurrentMode); // choosing a mode ends every hold
    const application = words(hold.ApplicationId);
    if (more.length > 0 || !application)
        return [{label: _('Release All Holds'), asks}];
    const from = fill(_('Release from {application}'), {application: nameOf(application)});
    return [{label: application === OWN_ID ? _('Stop Now') : from, asks, application}];
}

function modeRows({efficiency}) {
    const {token: used} = inForce({efficiency});
    return listModes(efficiency).map(({token, label, description: reason}) => {
        const checked = token === efficiency.CurrentMode;
        const inUse = token === used && !checked ? _('In use') : '';
        const mode = inUse ? fill(_('{mode}, {state}'), {mode: label, state: inUse}) : label;
        const accessibleName = reason ? fill(_('{mode}: {reason}'), {mode, reason}) : mode;
        return {label, checked, inUse, icon: modeIcon(token), accessibleName, asks: chosen(token)};
    });
}

/** The day's energy in one line: of its limit, else with what was paid or saved; empty where nothing is known. */
function energyToday({routing}) {
    const today = facts(routing.Today);
    const joules = known(today.energy_joules);
    if (joules === null || known(today.requests) === 0)
        return '';
    const spent = energy(Math.max(joules, JOULES_PER_WATT_HOUR * (known(today.spent_watt_hours) ?? 0)));
    const about = ['attributed', 'estimated'].includes(today.energy_source) ? `≈\u00a0${spent}` : spent;
    const limit = known(today.budget_watt_hours);
    if (limit !== null)
        return fill(_('Today {energy} of {limit}'), {energy: about, limit: energy(JOULES_PER_WATT_HOUR * limit)});
    const paid = ([currency, amount]) => `${Number(amount.toPrecision(2))}\u00a0${currency}`;
    const money = dotted(Object.entries(facts(today.money_spent)).map(paid));
    const saved = known(today.saved_joules) ?? 0;
    return dotted([fill(_('Today {energy}'), {energy: about}), money || comparison(joules, saved)]);
}

function comparison(joules, saved) {
    const part = Math.round(100 * saved / (joules + saved));
    const template = part > 0 ? _('{percent} less than Performance') : _('{percent} more than Performance');
    return part ? fill(template, {percent: percent(Math.abs(part))}) : '';
}

/** Where the daemon's web page is; null where it does not say. */
export function dashboardUri({presence, routing}) {
    const endpoint = words(routing.Endpoint);
    const isPage = presence === Presence.RUNNING && /^https?:\/\/[^\s/]/i.test(endpoint);
    return isPage ? `${endpoint.replace(/\/+$/, '')}/dashboard` : null;
}

/** The menu: its header and groups of rows; `desktop` knows how programs are called and a time is written. */
export function menuView(state, desktop) {
    const isRunning = state.presence === Presence.RUNNING;
    const [, absent, start] = isRunning ? [] : absence(state);
    const said = absent ?? sentence(state, desktop);
    // Right to left, the Shell cuts what is below the title.
    const isShort = said.length <= LONGEST_SUBTITLE && !desktop.isRightToLeft;
    const isLoaded = isRunning && Object.values(state.backends).some(({LoadedModels: models}) => models?.length > 0);
    const rows = isRunning ? {
        modes: modeRows(state), holds: holdRows(state, desktop),
        fleet: [...texts(fleetLine(state)), ...allTrouble(state), ...texts(energyToday(state))],
    } : {modes: [], holds: [], fleet: []};
    return {
        ...rows,
        header: {icon: tileView(state).icon, title: title(), sentence: isShort ? said : ''},
        notes: texts(isShort ? '' : said),
        start: start ? [{label: start, does: 'start'}] : [],
        ways: [
            ...isLoaded ? [{label: _('Unload Models'), does: 'unload'}] : [],
            ...dashboardUri(state) ? [{label: _('Open Dashboard'), does: 'openDashboard'}] : [],
            {label: _('AI Efficiency Settings'), does: 'openSettings'},
        ],
    };
}

const texts = status => status ? [{status}] : [];

function allTrouble({backends, fleet}) {
    const rows = troubleRows(backends); // which say why: an engine of theirs needs no row of its own
    return [...rows, ...endedRows(fleet).filter(({backend}) => rows.every(({id}) => id !== backend))];
}
