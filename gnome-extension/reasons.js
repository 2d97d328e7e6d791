// The daemon's reasons in the person's language; a sentence that is not known here stays as the daemon said it. Pure.

import {capital, fill} from './format.js';
import {modeLabel} from './modes.js';

const LONGEST_CHAIN = 3;

/**
 * The sentences that the daemon says, with what they are in the person's language.
 *
 * @param {Function} _ - gettext
 * @returns {Array<[RegExp, string]>}
 */
function sentences(_) {
    return [
        [/^on battery$/, _('On battery')],
        [/^on battery at (?<n>\S+) %$/, _('On battery at {n} %')],
        [/^on battery at (?<n>\S+) %, below (?<limit>\S+) %$/, _('On battery at {n} %, below {limit} %')],
        [/^on battery at (?<n>\S+) %, not yet up to (?<limit>\S+) %$/,
            _('On battery at {n} %, not yet up to {limit} %')],
        [/^on mains power$/, _('On mains power')],
        [/^on mains power, and the power profile is performance$/,
            _('On mains power, and the power profile is Performance')],
        [/^on mains power with the battery at (?<n>\S+) %, above (?<limit>\S+) %$/,
            _('On mains power with the battery at {n} %, above {limit} %')],
        [/^on mains power with the battery at (?<n>\S+) %, not above (?<limit>\S+) %$/,
            _('On mains power with the battery at {n} %, not above {limit} %')],
        [/^on mains power with the battery at (?<n>\S+) %, not yet down to (?<limit>\S+) %$/,
            _('On mains power with the battery at {n} %, not yet down to {limit} %')],
        [/^these are the quiet hours$/, _('These are the quiet hours')],
        [/^the power profile is power-saver$/, _('The power profile is Power Saver')],
        [/^the hottest device is at (?<n>\S+) °C, above (?<limit>\S+) °C$/,
            _('The hottest device is at {n} °C, above {limit} °C')],
        [/^the hottest device is at (?<n>\S+) °C, not yet down to (?<limit>\S+) °C$/,
            _('The hottest device is at {n} °C, not yet down to {limit} °C')],
        [/^the fan runs at (?<n>\S+) %, above (?<limit>\S+) %$/, _('The fan runs at {n} %, above {limit} %')],
        [/^the fan runs at (?<n>\S+) %, not yet down to (?<limit>\S+) %$/,
            _('The fan runs at {n} %, not yet down to {limit} %')],
        [/^the machine holds its performance back: (?<why>.+)$/, _('The machine holds its performance back: {why}')],
        [/^no reading asks for another mode$/, _('Nothing asks for another mode')],
        [/^no sensor says anything yet$/, _('No sensor says anything yet')],
        [/^as chosen$/, _('As chosen')],
        [/^held by (?<who>[^:;]+)$/, _('Held by {who}')],
        [/^held by (?<who>[^:;]+): (?<why>.+)$/, _('Held by {who}: {why}')],
    ];
}

/**
 * Auto's sentence about a change that waits.
 *
 * @param {string} reason - in the daemon's words
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @param {number} chain - how many sentences may still follow
 * @returns {string|null}
 */
function waiting(reason, efficiency, text, chain) {
    const told = /^(?<now>\w+) stays until (?<n>\S+) s after its last change; then (?<next>\w+): (?<why>.+)$/.exec(reason);
    if (!told)
        return null;
    const {now, n, next, why} = told.groups;
    return fill(text._('{now} stays until {n} s after its last change, then {next}: {why}'), {
        now: modeLabel(efficiency, now, text),
        n,
        next: modeLabel(efficiency, next, text),
        why: spoken(why, efficiency, text, chain - 1),
    });
}

/**
 * A reason as a line of its own.
 *
 * @param {string} reason - in the daemon's words
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @param {number} chain - how many sentences may follow each other
 * @returns {string}
 */
export function spoken(reason, efficiency, text, chain = LONGEST_CHAIN) {
    for (const [pattern, template] of sentences(text._)) {
        const told = pattern.exec(reason);
        if (told)
            return fill(template, told.groups ?? {});
    }
    return (chain > 0 && waiting(reason, efficiency, text, chain)) || capital(reason);
}
