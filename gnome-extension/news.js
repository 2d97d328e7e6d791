// SPDX-License-Identifier: MIT
// Which changes are news for the person, and in which words. Pure: the time is handed in.

import {backendName, isHere} from './backendView.js';
import {capital, facts, fill, words, _} from './format.js';
import {AUTO, modeIcon, modeOf} from './modes.js';
import {phrase, reasonOf, spoken} from './reasons.js';
import {Presence} from './shared/daemonState.js';

/** The same news makes no banner again before this long. */
export const QUIET_S = 60;

/** A daemon that has just come looks around first: what it makes of that is no change. */
export const SETTLING_S = 10;

const isHeld = holds => Array.isArray(holds) && holds.length > 0;

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
        const found = this._ofBackends(before.backends, after.backends);
        if (nowS - this._runningSinceS >= SETTLING_S)
            found.push(...this._ofAuto(before.efficiency, after.efficiency));
        return this._quietly(found, nowS);
    }

    /** A device began or ceased to be throttled; told only while a request runs there. */
    throttling({id, name, reason, isThrottling, isWorking}, nowS) {
        const key = `throttling:${id}`;
        if (!isThrottling || !isWorking)
            return isThrottling ? [] : [{key}];
        const device = words(name) || (id === 'cpu' ? _('The processor') : id);
        return this._quietly([{
            key, topic: 'throttling', icon: 'ai-state-hot',
            title: fill(_('{device} is throttled'), {device}),
            body: capital(words(reason)) || _('Answers come slower until it is back to full speed'),
        }], nowS);
    }

    _ofAuto(before, after) {
        const effective = words(after.EffectiveMode);
        // Who chose Auto just now, or holds a mode, knows what happened.
        if (before.CurrentMode !== AUTO || after.CurrentMode !== AUTO || !effective ||
            !words(before.EffectiveMode) || before.EffectiveMode === effective ||
            isHeld(before.ActiveHolds) || isHeld(after.ActiveHolds))
            return [];
        return [{
            key: 'auto', topic: 'auto', icon: modeIcon(effective), isTransient: true,
            title: fill(_('Auto switched to {mode}'), {mode: modeOf(after, effective).label}),
            body: spoken(reasonOf(after), after),
        }];
    }

    _ofBackends(before, after) {
        const found = [];
        for (const path of new Set([...this._lost, ...Object.keys(after)])) {
            const [was, is] = [facts(before[path]), facts(after[path])];
            if (was.Health === 'up' && is.Health === 'down' && isHere(is)) {
                this._lost.add(path);
                found.push({
                    key: path, topic: 'backends', icon: 'ai-state-down',
                    title: fill(_('{backend} is down'), {backend: backendName(is)}),
                    body: capital(phrase(reasonOf(is))) || _('Requests go elsewhere until it is back'),
                });
            } else if (this._lost.has(path) && ['up', 'disabled', undefined].includes(is.Health)) {
                this._lost.delete(path);
                found.push({key: path});
            }
        }
        return found;
    }

    _quietly(found, nowS) {
        return found.map(news => {
            const isQuiet = nowS - (this._toldAtS.get(news.title) ?? -Infinity) < QUIET_S;
            if (news.title && !isQuiet)
                this._toldAtS.set(news.title, nowS);
            return news.title ? {...news, isQuiet} : news;
        }).filter(news => !(news.isTransient && news.isQuiet));
    }
}
