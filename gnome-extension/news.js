// Which changes are news for the person, and in which words. Pure: the time is handed in.

import {backendName} from './backendView.js';
import {capital, facts, fill, words} from './format.js';
import {AUTO, modeIcon, modeLabel} from './modes.js';
import {reasonOf, spoken} from './reasons.js';
import {Presence} from './shared/daemonState.js';

/** The same news is told again only after this long. */
export const QUIET_S = 60;

/** A daemon that has just come looks around first: what it makes of that is no change. */
export const SETTLING_S = 10;

/** Tells changes apart from what is merely new, and never tells the same twice within a minute. */
export class News {
    /** @param {object} text - what translates */
    constructor(text) {
        this._text = text;
        this._toldAtS = new Map();
        this._lost = new Set();
        this._runningSinceS = null;
    }

    /**
     * What is news between two states.
     *
     * @param {object} before - what the daemon told before
     * @param {object} after - what it tells now
     * @param {number} nowS - on the monotonic clock
     * @returns {object[]} {key, topic, icon, title, body}
     */
    compare(before, after, nowS) {
        if (after.presence !== Presence.RUNNING) {
            this._lost.clear();
            this._runningSinceS = null;
            return [];
        }
        this._runningSinceS ??= nowS;
        if (before.presence !== Presence.RUNNING)
            return [];
        const found = this._ofBackends(before.backends, after.backends);
        if (nowS - this._runningSinceS >= SETTLING_S)
            found.push(...this._ofAuto(before.efficiency, after.efficiency));
        return this._notYetTold(found, nowS);
    }

    /**
     * A device began or ceased to be throttled.
     *
     * @param {object} event - {id, name, reason, isThrottling}
     * @param {number} nowS - on the monotonic clock
     * @returns {object[]}
     */
    throttling({id, name, reason, isThrottling}, nowS) {
        const {_} = this._text;
        const device = words(name) || (id === 'cpu' ? _('The processor') : id);
        const news = isThrottling
            ? {
                key: `throttling:${id}`, topic: 'throttling', icon: 'ai-state-hot',
                title: fill(_('{device} is throttled'), {device}),
                body: capital(words(reason)) || _('It is throttled for heat or power, so answers come slower'),
            }
            : {
                key: `throttled:${id}`, topic: 'throttling', icon: 'ai-state-ready',
                title: fill(_('{device} is no longer throttled'), {device}),
                body: _('Answers come at full speed again'),
            };
        return this._notYetTold([news], nowS);
    }

    _ofAuto(before, after) {
        const isHeld = holds => Array.isArray(holds) && holds.length > 0;
        const effective = words(after.EffectiveMode);
        // Who chose Auto just now, or holds a mode, knows what happened.
        if (before.CurrentMode !== AUTO || after.CurrentMode !== AUTO || !effective ||
            !words(before.EffectiveMode) || before.EffectiveMode === effective ||
            isHeld(before.ActiveHolds) || isHeld(after.ActiveHolds))
            return [];
        const {_} = this._text;
        return [{
            key: `auto:${effective}`, topic: 'auto', icon: modeIcon(effective),
            title: fill(_('Auto chose {mode}'), {mode: modeLabel(after, effective, this._text)}),
            body: spoken(reasonOf(after), after, this._text),
        }];
    }

    _ofBackends(before, after) {
        const found = [];
        for (const path of Object.keys(after)) {
            const [was, is] = [facts(before[path]), facts(after[path])];
            if (was.Health === 'up' && is.Health === 'down') {
                this._lost.add(path);
                found.push(this._down(path, is));
            } else if (this._lost.has(path) && is.Health === 'up') {
                this._lost.delete(path);
                found.push(this._back(path, is));
            } else if (is.Health === 'disabled') {
                this._lost.delete(path);
            }
        }
        return found;
    }

    _down(path, backend) {
        const {_} = this._text;
        return {
            key: `down:${path}`, topic: 'backends', icon: 'ai-state-down',
            title: fill(_('{backend} is down'), {backend: backendName(backend, this._text)}),
            body: capital(words(backend.Reason)) || _('Requests go elsewhere until it is back'),
        };
    }

    _back(path, backend) {
        const {_} = this._text;
        return {
            key: `back:${path}`, topic: 'backends', icon: 'ai-state-ready',
            title: fill(_('{backend} is back'), {backend: backendName(backend, this._text)}),
            body: _('Requests can go there again'),
        };
    }

    _notYetTold(found, nowS) {
        return found.filter(({key}) => {
            const toldAtS = this._toldAtS.get(key);
            if (toldAtS !== undefined && nowS - toldAtS < QUIET_S)
                return false;
            this._toldAtS.set(key, nowS);
            return true;
        });
    }
}
