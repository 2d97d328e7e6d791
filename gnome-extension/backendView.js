// SPDX-License-Identifier: MIT
// What is said of the backends: one line for all of them, and a row for each in trouble. Pure.

import {capital, facts, fill, known, percent, power, small, speed, temperature, words, _, ngettext} from './format.js';
import {phrase, reasonOf} from './reasons.js';

const WORST_FIRST = ['down', 'degraded', 'hot'];
const READY = ['ready', 'asleep'];

export const inFlight = backend => Math.max(0, known(backend.InFlight) ?? 0);
/** Whether it is of this machine, and not shared by a paired one. */
export const isHere = backend => !words(backend.Machine);

export const backendName = backend => words(backend.Name) || words(backend.Id) || _('Unnamed backend');

function stateOf(backend) {
    if (backend.Health === 'disabled' || backend.Enabled === false)
        return ['off', _('Off')];
    if (backend.Health === 'down')
        return ['down', _('Down')];
    if (backend.Health === 'failing')
        return ['down', _('Failing')];
    if (backend.Health !== 'up')
        return ['unknown', _('Not checked yet')];
    if (words(backend.Reason))
        return ['degraded', _('Degraded')];
    if (backend.TooHot === true)
        return ['hot', _('Too hot')];
    if (inFlight(backend) > 0)
        return ['working', _('Answering')];
    const outside = phrase(backend.OutsideMode);
    if (outside)
        return ['outside', capital(outside)];
    return backend.Asleep === true ? ['asleep', _('Asleep')] : ['ready', _('Ready')];
}

/** A backend: {id, name, state, status}; the status says why it is not well. */
export function backendRow(backend) {
    const [state, status] = stateOf(backend);
    const celsius = state === 'hot' ? known(backend.TemperatureCelsius) : null;
    const reason = ['down', 'degraded'].includes(state) ? phrase(reasonOf(backend)) : '';
    const why = celsius === null ? reason : temperature(celsius);
    return {
        id: words(backend.Id),
        name: backendName(backend),
        state,
        status: why ? fill(_('{state}: {reason}'), {state: status, reason: why}) : status,
    };
}

/** The rows of this machine's backends that are in trouble, the worst first: other machines come and go. */
export function troubleRows(backends) {
    return Object.values(backends).map(facts).filter(isHere).map(backendRow)
        .filter(({state}) => WORST_FIRST.includes(state))
        .sort((a, b) => WORST_FIRST.indexOf(a.state) - WORST_FIRST.indexOf(b.state))
        .map(row => ({...row, icon: `ai-state-${row.state}`, accessibleName: `${row.name}, ${row.status}`}));
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
    return n > 0 ? [fill(ngettext('{n} waiting', '{n} waiting', n), {n})] : [];
}

const list = value => Array.isArray(value) ? value.map(facts) : [];

/** How far an engine that the daemon runs has come; empty where it serves. */
export function enginePhase({phase, loaded_percent: part}) {
    if (phase === 'waiting')
        return _('Waiting for memory');
    if (phase !== 'loading')
        return '';
    return known(part) === null ? _('Loading') : fill(_('Loading, {percent}'), {percent: percent(part)});
}

function loading({Engines: engines}) {
    const all = list(engines).filter(enginePhase);
    const told = ({model, ...engine}) => fill(_('{model}: {state}'), {model, state: small(enginePhase(engine))});
    return all.length > 1 ? [fill(ngettext('{n} model is loading', '{n} models are loading', all.length), {n: all.length})] : all.map(told);
}

/** The rows of the models whose engine ended unasked or did not load. */
export const endedRows = ({EnginesEnded: ended}) => list(ended).map(told => {
    const state = told.reason_code === 'engine_ended' ? _('Ended unexpectedly') : _('Could not be loaded');
    const status = fill(_('{state}: {reason}'), {state, reason: words(facts(told.reason_details).detail) || words(told.reason)});
    return {backend: told.backend, name: words(told.model), status, icon: 'ai-state-down', accessibleName: `${words(told.model)}, ${status}`};
});

/** What all the backends do, in one line. */
export function fleetLine({backends, fleet}) {
    const all = Object.values(backends).map(facts);
    const trouble = all.length === 0 ? _('No backends are configured') : fleetTrouble(backends);
    if (trouble)
        return trouble;
    const working = all.filter(backend => inFlight(backend) > 0);
    const rest = [...loading(fleet), ...waiting(fleet)];
    if (working.length === 0) {
        const states = all.map(backend => stateOf(backend)[0]);
        const ready = states.filter(state => READY.includes(state)).length;
        const outside = states.filter(state => state === 'outside').length;
        const isUnchecked = ready + outside === 0 && !states.some(state => WORST_FIRST.includes(state));
        return [
            ...ready + outside > 0 ? [fill(ngettext('{n} backend ready', '{n} backends ready', ready), {n: ready})] : [],
            ...outside > 0 ? [fill(_('{n} not in this mode'), {n: outside})] : [],
            ...isUnchecked ? [_('Not checked yet')] : [],
            ...rest,
        ].join(' · ');
    }
    const watts = working.map(({PowerWatts}) => known(PowerWatts));
    const tokensPerSecond = working.length === 1 ? known(working[0].TokensPerSecond) : null;
    return [
        working.length === 1 ? fill(_('{backend} answers'), {backend: backendName(working[0])})
            : fill(ngettext('{n} backend answers', '{n} backends answer', working.length), {n: working.length}),
        ...tokensPerSecond === null ? [] : [speed(tokensPerSecond)],
        ...watts.includes(null) ? [] : [power(watts.reduce((sum, each) => sum + each, 0))],
        ...rest,
    ].join(' · ');
}
