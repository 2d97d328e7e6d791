// What the widgets show, worked out from what the daemon told. Pure: no Shell, no D-Bus, no clock.

import {backendName, backendRows, inFlight} from './backendView.js';
import {capital, energy, facts, figure, fill, known, words} from './format.js';
import {AUTO, listModes, modeIcon, modeLabel} from './modes.js';
import {reasonOf, spoken, spokenLimits} from './reasons.js';
import {Presence} from './shared/daemonState.js';

/** Characters that fit below the menu's title; a longer sentence has a place of its own. */
const LONGEST_SUBTITLE = 50;

/**
 * What the tile is called.
 *
 * @param {object} text - what translates
 * @returns {string}
 */
export function title(text) {
    return text._('AI Efficiency');
}

function presenceSubtitle(presence, {_}) {
    return {
        [Presence.ABSENT]: _('Not running'),
        [Presence.STARTING]: _('Starting…'),
        [Presence.LOADING]: _('Connecting…'),
        [Presence.SILENT]: _('Not answering'),
    }[presence] ?? '';
}

function modeNames({efficiency}, text) {
    const chosen = words(efficiency.CurrentMode);
    const effective = words(efficiency.EffectiveMode) || chosen;
    if (!chosen)
        return text._('Unknown mode');
    const label = modeLabel(efficiency, chosen, text);
    if (effective === chosen)
        return label;
    return `${label} · ${modeLabel(efficiency, effective, text)}`;
}

/**
 * The tile in Quick Settings.
 *
 * @param {object} state - what the daemon told
 * @param {object} text - what translates
 * @returns {object} {title, subtitle, icon, checked}
 */
export function tileView(state, text) {
    const isRunning = state.presence === Presence.RUNNING;
    const chosen = words(state.efficiency.CurrentMode);
    return {
        title: title(text),
        subtitle: isRunning ? modeNames(state, text) : presenceSubtitle(state.presence, text),
        icon: isRunning ? modeIcon(chosen) : modeIcon(AUTO),
        checked: isRunning && chosen === AUTO,
    };
}

function inFlightOfAll({backends}) {
    return Object.values(backends).reduce((sum, backend) => sum + inFlight(facts(backend)), 0);
}

/**
 * The icon in the panel.
 *
 * @param {object} state - what the daemon told
 * @param {string} when - the preference: never, working or always
 * @param {object} text - what translates
 * @returns {object} {visible, icon, accessibleName}
 */
export function panelView(state, when, text) {
    const isRunning = state.presence === Presence.RUNNING;
    const isWorking = (known(facts(state.fleet).InFlight) ?? inFlightOfAll(state)) > 0;
    const {EffectiveMode: effective, CurrentMode: chosen} = state.efficiency;
    return {
        visible: isRunning && (when === 'always' || (when === 'working' && isWorking)),
        icon: modeIcon(words(effective) || words(chosen)),
        accessibleName: `${title(text)}: ${tileView(state, text).subtitle}`,
    };
}

function whyInForce(state, text) {
    const {_} = text;
    const {efficiency, trouble} = state;
    switch (state.presence) {
    case Presence.RUNNING:
        break;
    case Presence.ABSENT:
        return _('Requests are not served until it is started');
    case Presence.SILENT:
        return capital(trouble) || _('Not answering');
    default:
        return presenceSubtitle(state.presence, text);
    }
    const chosen = words(efficiency.CurrentMode);
    const isHeld = Array.isArray(efficiency.ActiveHolds) && efficiency.ActiveHolds.length > 0;
    if (chosen && chosen !== AUTO && chosen === efficiency.EffectiveMode && !isHeld)
        return fill(_('{mode}, as chosen'), {mode: modeLabel(efficiency, chosen, text)});
    return spoken(reasonOf(efficiency), efficiency, text) || _('The daemon does not say why');
}

function modeRows({efficiency}, text) {
    return listModes(efficiency, text).map(mode => ({
        ...mode,
        icon: modeIcon(mode.token),
        checked: mode.token === efficiency.CurrentMode,
        accessibleName: mode.description
            ? fill(text._('{mode}: {description}'), {mode: mode.label, description: mode.description})
            : mode.label,
    }));
}

/**
 * The requests that wait: for a backend, by priority, and for the charger.
 *
 * @param {object} state - what the daemon told
 * @param {object} text - what translates
 * @returns {object|null} {caption, value}; null where none waits
 */
function queue({fleet}, text) {
    const {_, ngettext} = text;
    const counts = facts(fleet.WaitingByPriority);
    const templates = {
        critical: _('{n} critical'), high: _('{n} high'), normal: _('{n} normal'), 'best-effort': _('{n} best-effort'),
    };
    const waiting = Object.keys(templates)
        .filter(priority => known(counts[priority]) > 0)
        .map(priority => fill(templates[priority], {n: counts[priority]}));
    const seconds = known(fleet.OldestWaitSeconds);
    // It is not told while it grows.
    if (waiting.length > 0 && seconds !== null)
        waiting.push(fill(_('the oldest for at least {n} s'), {n: figure(Math.floor(seconds), text)}));
    const deferred = known(fleet.Deferred) ?? 0;
    if (deferred > 0)
        waiting.push(fill(ngettext('{n} until the charger is plugged in', '{n} until the charger is plugged in', deferred), {n: deferred}));
    return waiting.length > 0 ? {caption: _('Waiting requests'), value: waiting.join(', ')} : null;
}

function calledBackend(backends, id, text) {
    const named = Object.values(backends).map(facts).find(backend => backend.Id === id);
    return named ? backendName(named, text) : id;
}

function estimate(last, text) {
    const {_} = text;
    const spent = known(last.energy_joules);
    const other = known(last.instead_of_joules);
    if (spent === null)
        return '';
    if (other === null)
        return energy(spent, text);
    return fill(_('{spent} instead of {other}'), {spent: energy(spent, text), other: energy(other, text)});
}

/**
 * Which limits of the mode gave way to the last request, and why.
 *
 * @param {object} last - the last decision
 * @param {object} text - what translates
 * @param {number} depth - how many reasons may still stand in each other
 * @returns {string} empty where none did
 */
function gaveWay(last, {_, ...text}, depth = 3) {
    const {rejections, reason} = facts(last.reason_details);
    if (last.reason_code !== 'although')
        return depth > 0 && reason ? gaveWay(facts(reason), {_, ...text}, depth - 1) : '';
    const cause = {
        none_within_mode: _('nothing within the mode can serve'),
        queue_too_long: _('what is within the mode is busy'),
    }[facts(reason).reason_code] ?? _('nothing else can serve');
    return fill(_('{cause} ({limits})'), {cause, limits: spokenLimits(rejections, {_, ...text})});
}

function lastRequest({routing, backends}, text) {
    const {_} = text;
    const last = facts(routing.LastDecision);
    const backend = words(last.backend);
    if (!backend) {
        const reason = words(last.reason);
        return reason ? {caption: _('Last request'), value: capital(reason)} : null;
    }
    const where = calledBackend(backends, backend, text);
    const model = words(last.model);
    const way = model ? fill(_('{model} → {backend}'), {model, backend: where}) : where;
    const cost = estimate(last, text);
    const conceded = gaveWay(last, text);
    const value = cost ? fill(_('{way}, {cost}'), {way, cost}) : way;
    return {
        caption: cost ? _('Last request, estimated') : _('Last request'),
        value: conceded ? fill(_('{way}; {reason}'), {way: value, reason: conceded}) : value,
    };
}

function saving(today, text) {
    const {_} = text;
    const saved = known(today.saved_joules);
    const compared = known(today.compared);
    if (saved === null || compared === 0 || Math.abs(saved) < 0.05)
        return '';
    const template = saved > 0 ? _('{energy} less than in Performance') : _('{energy} more than in Performance');
    return fill(template, {energy: energy(Math.abs(saved), text)});
}

function money(today) {
    const spent = Object.entries(facts(today.money_spent));
    return spent.map(([currency, amount]) => `${Number(amount.toPrecision(2))} ${currency}`).join(', ');
}

function energyToday({routing}, text) {
    const today = facts(routing.Today);
    const spent = known(today.energy_joules);
    if (spent === null || known(today.requests) === 0)
        return null;
    const parts = [energy(spent, text), saving(today, text), money(today)].filter(Boolean);
    return {caption: text._('Energy today, estimated'), value: parts.join(', ')};
}

/**
 * Where the daemon's web page is.
 *
 * @param {object} state - what the daemon told
 * @returns {string|null} null where it does not say
 */
export function dashboardUri({presence, routing}) {
    const endpoint = words(routing.Endpoint);
    if (presence !== Presence.RUNNING || !/^https?:\/\/[^\s/]/i.test(endpoint))
        return null;
    return `${endpoint.replace(/\/+$/, '')}/dashboard`;
}

/**
 * The menu behind the tile.
 *
 * @param {object} state - what the daemon told
 * @param {object} text - what translates
 * @returns {object} {header, note, modes, backends, more, queue, last, today, dashboard, start}
 */
export function menuView(state, text) {
    const {_} = text;
    const {icon, subtitle} = tileView(state, text);
    const why = whyInForce(state, text);
    const isShort = why.length <= LONGEST_SUBTITLE;
    const header = {icon, title: title(text), sentence: isShort ? why : subtitle};
    const note = isShort ? '' : why;
    if (state.presence !== Presence.RUNNING) {
        const start = {[Presence.ABSENT]: _('Start'), [Presence.SILENT]: _('Try Again')}[state.presence] ?? null;
        const figures = {queue: null, last: null, today: null};
        return {header, note, modes: [], backends: [], more: '', ...figures, dashboard: null, start};
    }
    const {rows, more} = backendRows(state.backends, text);
    return {
        header,
        note,
        modes: modeRows(state, text),
        backends: rows,
        more: state.lacksBackends ? '' : more,
        queue: queue(state, text),
        last: lastRequest(state, text),
        today: energyToday(state, text),
        dashboard: dashboardUri(state),
        start: null,
    };
}
