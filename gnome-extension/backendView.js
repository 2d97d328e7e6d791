// What a backend's row shows: its name, its state as icon and words, and what it does. Pure.

import {facts, fill, known, power, speed, temperature, words} from './format.js';
import {phrase, reasonOf, spokenLimits} from './reasons.js';

/** More rows than these would push the menu off a small screen. */
export const MOST_ROWS = 6;

/**
 * How many requests a backend is answering.
 *
 * @param {object} backend - the properties of its object
 * @returns {number}
 */
export function inFlight(backend) {
    return Math.max(0, known(backend.InFlight) ?? 0);
}

/**
 * What a backend is called.
 *
 * @param {object} backend - the properties of its object
 * @param {object} text - what translates
 * @returns {string}
 */
export function backendName(backend, text) {
    return words(backend.Name) || words(backend.Id) || text._('Unnamed backend');
}

/**
 * What a backend that works does now, as far as it is known.
 *
 * @param {object} backend - the properties of its object
 * @param {object} text - what translates
 * @returns {string[]}
 */
function work(backend, text) {
    const parts = [];
    const tokensPerSecond = known(backend.TokensPerSecond);
    const watts = known(backend.PowerWatts);
    if (tokensPerSecond !== null)
        parts.push(speed(tokensPerSecond, text));
    if (watts !== null)
        parts.push(power(watts, text));
    if (parts.length > 0)
        return parts;
    const n = inFlight(backend);
    return [fill(text.ngettext('{n} request', '{n} requests', n), {n})];
}

/**
 * The state of a backend that can serve.
 *
 * @param {object} backend - the properties of its object
 * @param {object} text - what translates
 * @returns {object} {state, parts}
 */
function serving(backend, text) {
    const {_} = text;
    const atWork = inFlight(backend) > 0 ? work(backend, text) : [];
    if (backend.TooHot === true) {
        const celsius = known(backend.TemperatureCelsius);
        const heat = celsius === null || atWork.length > 0 ? [] : [temperature(celsius, text)];
        return {state: 'hot', parts: [_('too hot'), ...heat, ...atWork]};
    }
    if (atWork.length > 0)
        return {state: 'working', parts: atWork};
    if (backend.Asleep === true)
        return {state: 'asleep', parts: [_('asleep')]};
    return {state: 'ready', parts: [_('ready')]};
}

/**
 * The state of a backend that is up.
 *
 * @param {object} backend - the properties of its object
 * @param {string} reason - why it is not quite well, empty where it is
 * @param {object} text - what translates
 * @returns {object} {state, parts, reason}
 */
function up(backend, reason, text) {
    const {_} = text;
    if (reason)
        return {state: 'degraded', parts: [_('degraded'), ...inFlight(backend) > 0 ? work(backend, text) : []], reason};
    const limits = spokenLimits(facts(facts(backend.OutsideMode).reason_details).limits, text);
    if (limits && backend.TooHot !== true && inFlight(backend) === 0)
        return {state: 'outside', parts: [_('not in this mode')], reason: limits};
    return {...serving(backend, text), reason: ''};
}

/**
 * The state of a backend.
 *
 * @param {object} backend - the properties of its object
 * @param {object} text - what translates
 * @returns {object} {state, parts, reason}
 */
function stateOf(backend, text) {
    const {_} = text;
    const reason = phrase(reasonOf(backend), {}, text);
    if (backend.Health === 'disabled' || backend.Enabled === false)
        return {state: 'off', parts: [_('disabled')], reason: ''};
    if (backend.Health === 'down')
        return {state: 'down', parts: [_('down')], reason};
    if (backend.Health === 'failing')
        return {state: 'down', parts: [_('failing')], reason};
    if (backend.Health === 'up')
        return up(backend, reason, text);
    return {state: 'unknown', parts: [_('not checked yet')], reason: ''};
}

/**
 * One row.
 *
 * @param {object} backend - the properties of its object
 * @param {object} text - what translates
 * @returns {object} {id, name, state, icon, status, detail, accessibleName}
 */
export function backendRow(backend, text) {
    const name = backendName(backend, text);
    const {state, parts, reason} = stateOf(backend, text);
    const status = parts.join(' · ');
    const whole = reason ? fill(text._('{state}: {reason}'), {state: status, reason}) : status;
    return {
        id: words(backend.Id),
        name,
        state,
        icon: `ai-state-${state}`,
        // A reason is as long as it is: it has a line of its own.
        status: reason ? '' : status,
        detail: reason ? whole : '',
        accessibleName: fill(text._('{backend}, {state}'), {backend: name, state: whole}),
    };
}

/**
 * The rows of a fleet, in the daemon's order.
 *
 * @param {object} backends - properties by the path of the object
 * @param {object} text - what translates
 * @returns {object} {rows, more}: `more` says that some are left out
 */
export function backendRows(backends, text) {
    const all = Object.keys(backends).map(path => backendRow(facts(backends[path]), text));
    const left = all.length - MOST_ROWS;
    if (left <= 0)
        return {rows: all, more: all.length === 0 ? text._('No backends are configured') : ''};
    const more = fill(text.ngettext('{n} more on the dashboard', '{n} more on the dashboard', left), {n: left});
    return {rows: all.slice(0, MOST_ROWS), more};
}
