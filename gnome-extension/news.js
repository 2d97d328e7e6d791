// SPDX-License-Identifier: MIT
// Which changes are news for the person, and in which words. Pure: the time is handed in.

import {capital, facts, fill, list, words, _} from './format.js';
import {AUTO, modeIcon, modeOf, phrase, reasonOf, spoken} from './modes.js';
import {Presence} from './shared/daemon.js';
import {backendName, inFlight, isHere} from './viewModel.js';

export const QUIET_S = 60; // the same news makes no banner again before
export const SETTLING_S = 10; // a daemon that has just come looks around first: what it makes of that is no change

const isHeld = ({ActiveHolds: holds}) => list(holds).length > 0;

/** Tells changes apart from what is merely new. News without a title is over, and is withdrawn. */
export class News {
    constructor() {
        this._toldAtS = new Map();
        this._lost = new Set();
        this._runningSinceS = null;
    }

    /** What is news between two states: {key, topic, icon, title, body, isTransient, isQuiet}. */
    compare(before, after, nowS) {
        if (after.presence !== Presence.RUNNING) {
            const over = [...this._lost].map(key => ({key}));
            this._lost.clear();
            this._runningSinceS = null;
            return over;
        }
        this._runningSinceS ??= nowS;
        if (before.presence !== Presence.RUNNING)
            return [];
        const isSettled = nowS - this._runningSinceS >= SETTLING_S;
        return [
            ...this._ofBackends(before.backends, after.backends),
            ...ofThrottling(before.thermal, after),
            ...isSettled ? ofAuto(before.efficiency, after.efficiency) : [],
        ].map(each => each.title ? this._quietly(each, nowS) : each).filter(each => !each.isTransient || !each.isQuiet);
    }

    _ofBackends(before, after) {
        const found = [];
        for (const key of new Set([...this._lost, ...Object.keys(after)])) {
            const [was, is] = [facts(before[key]), facts(after[key])];
            if (was.Health === 'up' && is.Health === 'down' && isHere(is)) {
                this._lost.add(key);
                found.push({
                    key, topic: 'backends', icon: 'ai-state-down',
                    title: fill(_('{backend} is down'), {backend: backendName(is)}),
                    body: capital(phrase(reasonOf(is))) || _('Requests go elsewhere until it is back'),
                });
            } else if (this._lost.has(key) && ['up', 'disabled', undefined].includes(is.Health)) {
                this._lost.delete(key);
                found.push({key});
            }
        }
        return found;
    }

    _quietly(news, nowS) {
        const isQuiet = nowS - (this._toldAtS.get(news.title) ?? -Infinity) < QUIET_S;
        if (!isQuiet)
            this._toldAtS.set(news.title, nowS);
        return {...news, isQuiet};
    }
}

/** A device began to be throttled, which is told only while a request runs there, or ceased to be. */
function ofThrottling(before, {thermal, backends}) {
    const were = new Set(list(before.Devices).filter(device => words(device.throttling)).map(({id}) => id));
    return list(thermal.Devices).flatMap(({id, name, hardware, throttling}) => {
        const key = `throttling:${id}`;
        const reason = words(throttling);
        if (!reason)
            return were.has(id) ? [{key}] : [];
        if (were.has(id) || !Object.values(backends).some(each => each.Hardware === hardware && inFlight(each) > 0))
            return [];
        const device = words(name) || (id === 'cpu' ? _('The processor') : id);
        return [{
            key, topic: 'throttling', icon: 'ai-state-hot',
            title: fill(_('{device} is throttled'), {device}), body: capital(reason),
        }];
    });
}

function ofAuto(before, after) {
    const [was, is] = [words(before.EffectiveMode), words(after.EffectiveMode)];
    // Who chose Auto just now, or holds a mode, knows what happened.
    if (!was || !is || was === is || [before, after].some(each => each.CurrentMode !== AUTO || isHeld(each)))
        return [];
    return [{
        key: 'auto', topic: 'auto', icon: modeIcon(is), isTransient: true,
        title: fill(_('Auto switched to {mode}'), {mode: modeOf(after, is).label}),
        body: spoken(reasonOf(after), after),
    }];
}
