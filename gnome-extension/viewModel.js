// SPDX-License-Identifier: MIT
// What the widgets show, worked out from what the daemon told. Pure: no Shell, no D-Bus, no clock.

import {endedRows, fleetLine, fleetTrouble, inFlight, troubleRows} from './backendView.js';
import {JOULES_PER_WATT_HOUR, capital, energy, facts, fill, known, percent, small, words, _} from './format.js';
import {AUTO, listModes, modeIcon, modeOf} from './modes.js';
import {phrase, reasonOf} from './reasons.js';
import {Presence} from './shared/daemonState.js';

/** Characters that fit below the menu's title; a longer sentence has a row of its own. */
const LONGEST_SUBTITLE = 45;

/** By which its holds are known as the extension's own. */
export const OWN_ID = 'ie.fio.OllamaProxy.Extension';

export const HOW_TO_INSTALL = 'https://fio.ie/ollama-proxy';

/** Less than this is no difference. */
const LEAST_PERCENT = 1;

export const title = () => _('AI Efficiency');

/** What the tile and the menu say while there is no daemon that answers: [subtitle, sentence, action]. */
function absence({presence, trouble}) {
    switch (presence) {
    case Presence.MISSING:
        return [_('Not installed'), _('ollama-proxyd is not installed'), _('How to Install')];
    case Presence.ABSENT:
        return [_('Not running'), _('Requests are not served until it is started'), _('Start')];
    case Presence.SILENT:
        return [_('Not answering'), capital(trouble) || _('Not answering'), _('Try Again')];
    default:
        return Array(2).fill(presence === Presence.STARTING ? _('Starting…') : _('Connecting…'));
    }
}

/** The token of the mode in force, and its label. */
function inForce({efficiency}) {
    const token = words(efficiency.EffectiveMode) || words(efficiency.CurrentMode);
    return {token, label: token ? modeOf(efficiency, token).label : _('Unknown mode')};
}

/** The tile in Quick Settings: {title, subtitle, icon, checked}. */
export function tileView(state) {
    const isRunning = state.presence === Presence.RUNNING;
    const chosen = isRunning ? words(state.efficiency.CurrentMode) : AUTO;
    const trouble = isRunning ? fleetTrouble(state.backends) : '';
    return {
        title: title(),
        subtitle: isRunning ? trouble || inForce(state).label : absence(state)[0],
        icon: trouble ? 'ai-state-down' : modeIcon(chosen === AUTO ? AUTO : inForce(state).token),
        checked: isRunning && chosen === AUTO,
    };
}

/** The icon in the panel, {visible, icon, accessibleName}; `when` is the preference: never, working or always. */
export function panelView(state, when) {
    const counts = Object.values(state.backends).map(each => inFlight(facts(each)));
    const isWorking = (known(facts(state.fleet).InFlight) ?? Math.max(0, ...counts)) > 0;
    const isRunning = state.presence === Presence.RUNNING;
    return {
        visible: isRunning && (when === 'always' || (when === 'working' && isWorking)),
        icon: modeIcon(inForce(state).token),
        accessibleName: `${title()}: ${tileView(state).subtitle}`,
    };
}

/** What the mode in force is, and why. */
function sentence({efficiency}, label, {nameOf, timeOf}) {
    const {ActiveHolds: holds = []} = efficiency;
    const isChosen = efficiency.CurrentMode !== AUTO && holds.length === 0 &&
        efficiency.CurrentMode === (words(efficiency.EffectiveMode) || efficiency.CurrentMode);
    const told = reasonOf(efficiency);
    const {application_id: id, ...details} = facts(told.reason_details);
    const own = id === OWN_ID ? facts(holds.find(hold => hold.ApplicationId === id)) : {};
    const until = known(own.EndsUnixSeconds);
    if (own.UntilCharged === true)
        return fill(_('{mode} until charged'), {mode: label});
    if (until !== null)
        return fill(_('{mode} until {time}'), {mode: label, time: timeOf(until)});
    const named = words(id) ? {...details, application_id: nameOf(id)} : details;
    const why = isChosen ? small(modeOf(efficiency, efficiency.CurrentMode).description)
        : phrase({...told, reason_details: named}, efficiency);
    return why ? fill(_('{mode}: {reason}'), {mode: label, reason: why}) : label;
}

const NO_HOLD = {label: '', ends: false, application: ''};

/** The row about holds: it ends them, and where there are none it makes one. */
function holdRow({efficiency}, {nameOf}) {
    const {ActiveHolds: holds = []} = efficiency;
    if (holds.length === 0)
        return {label: _('Performance for 1 Hour'), ends: false, application: ''};
    const id = words(holds[0].ApplicationId);
    if (holds.length > 1 || !id)
        return {label: _('Release All Holds'), ends: true, application: ''};
    const label = id === OWN_ID ? _('Stop Now') : fill(_('Release from {application}'), {application: nameOf(id)});
    return {label, ends: true, application: id};
}

function modeRows({efficiency}) {
    const {token: used} = inForce({efficiency});
    return listModes(efficiency).map(({token, label, description}) => {
        const checked = token === efficiency.CurrentMode;
        const inUse = token === used && !checked ? _('In use') : '';
        const named = inUse ? fill(_('{mode}, {state}'), {mode: label, state: inUse}) : label;
        return {
            token, label, checked, inUse, icon: modeIcon(token),
            accessibleName: description ? fill(_('{mode}: {reason}'), {mode: named, reason: description}) : named,
        };
    });
}

function spentToday(today, joules) {
    const limit = known(today.budget_watt_hours);
    if (limit === null)
        return fill(_('Today {energy}'), {energy: energy(joules)});
    return fill(_('Today {energy} of {limit}'), {energy: energy(joules), limit: energy(JOULES_PER_WATT_HOUR * limit)});
}

/** How far that may be wrong, and from where it is known; nothing where the daemon does not say. */
function reliability(today) {
    const joules = known(today.energy_joules) + (known(today.idle_tail_joules) ?? 0);
    const error = (known(today.energy_error_joules) ?? NaN) + (known(today.idle_tail_error_joules) ?? 0);
    if (!(joules > 0) || Number.isNaN(error))
        return '';
    const sources = {measured: _('measured'), attributed: _('attributed'), estimated: _('estimated')};
    const source = sources[today.energy_source];
    const share = ` ±${percent(Math.round(100 * error / joules))}`;
    return source ? fill(_('{amount}, {source}'), {amount: share, source}) : share;
}

/** The day's energy in one line; empty where nothing is known of it. */
function energyToday({routing}) {
    const today = facts(routing.Today);
    const joules = known(today.energy_joules);
    const saved = known(today.saved_joules) ?? 0;
    if (joules === null || known(today.requests) === 0)
        return '';
    const spent = Math.max(joules, JOULES_PER_WATT_HOUR * (known(today.spent_watt_hours) ?? 0));
    const line = [`${spentToday(today, spent)}${reliability(today)}`];
    if (words(today.budget_reason))
        line.push(_('the day’s budget is spent'));
    const part = Math.round(100 * saved / (joules + saved));
    if (Math.abs(part) >= LEAST_PERCENT) {
        const template = part > 0 ? _('{percent} less than Performance') : _('{percent} more than Performance');
        line.push(fill(template, {percent: percent(Math.abs(part))}));
    }
    const money = Object.entries(facts(today.money_spent));
    return [...line, ...money.map(([currency, amount]) => `${Number(amount.toPrecision(2))}\u00a0${currency}`)].join(' · ');
}

/** Where the daemon's web page is; null where it does not say. */
export function dashboardUri({presence, routing}) {
    const endpoint = words(routing.Endpoint);
    if (presence !== Presence.RUNNING || !/^https?:\/\/[^\s/]/i.test(endpoint))
        return null;
    return `${endpoint.replace(/\/+$/, '')}/dashboard`;
}

function header(state, said) {
    const isShort = said.length <= LONGEST_SUBTITLE;
    return {header: {icon: tileView(state).icon, title: title(), sentence: isShort ? said : ''}, note: isShort ? '' : said};
}

/** The menu behind the tile; `desktop` knows how programs are called and a time is written. */
export function menuView(state, desktop) {
    if (state.presence !== Presence.RUNNING) {
        const [, said, start = ''] = absence(state);
        const nothing = {modes: [], hold: NO_HOLD, charged: '', unload: '', fleet: '', trouble: [], energy: '', dashboard: null};
        return {...header(state, said), ...nothing, start};
    }
    const isFree = state.efficiency.ActiveHolds?.length === 0;
    const inTrouble = troubleRows(state.backends); // whose rows say why
    const isLoaded = Object.values(state.backends).some(({LoadedModels: models}) => models?.length > 0);
    return {
        ...header(state, sentence(state, inForce(state).label, desktop)),
        modes: modeRows(state),
        hold: holdRow(state, desktop),
        charged: isFree && state.efficiency.Charging === true ? _('Performance Until Charged') : '',
        unload: isLoaded ? _('Unload Models') : '',
        fleet: fleetLine(state),
        trouble: [...inTrouble, ...endedRows(state.fleet).filter(({backend}) => inTrouble.every(({id}) => id !== backend))],
        energy: energyToday(state),
        dashboard: dashboardUri(state),
        start: '',
    };
}
