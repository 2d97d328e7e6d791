// The daemon's reasons in the person's language, by their codes (docs/reasons.md of the daemon); pure.
// A code that is not known here stays as the daemon's sentence.

import {capital, facts, fill, words} from './format.js';
import {modeLabel} from './modes.js';

const DEEPEST = 3;
const MODES = new Set(['mode', 'next_mode']);

/**
 * The templates of a code, the fullest first: one counts where all of its values were told.
 *
 * @param {Function} _ - gettext
 * @returns {object} by code
 */
function templates(_) {
    return {
        as_chosen: [_('As chosen')],
        held: [_('Held by {application_id}: {detail}'), _('Held by {application_id}')],
        mode_change_pending: [
            _('{mode} stays until {dwell_seconds} s after its last change, then {next_mode}: {reason}'),
        ],
        no_reading_yet: [_('No sensor says anything yet')],
        nothing_applies: [_('Nothing asks for another mode')],
        on_battery: [_('On battery at {battery_percent} %'), _('On battery')],
        battery_low: [_('On battery at {battery_percent} %, below {limit_percent} %')],
        battery_still_low: [_('On battery at {battery_percent} %, not yet up to {limit_percent} %')],
        on_mains: [_('On mains power')],
        performance_profile: [_('On mains power, and the power profile is Performance')],
        battery_full: [_('On mains power with the battery at {battery_percent} %, above {limit_percent} %')],
        battery_not_full: [_('On mains power with the battery at {battery_percent} %, not above {limit_percent} %')],
        battery_still_full: [
            _('On mains power with the battery at {battery_percent} %, not yet down to {limit_percent} %'),
        ],
        battery_charged: [
            _('On mains power, and the battery is charged as far as it may be: {battery_percent} %'),
            _('On mains power, and the battery is charged as far as it may be'),
        ],
        power_saver_profile: [_('The power profile is Power Saver')],
        quiet_hours: [_('These are the quiet hours')],
        hot: [_('The hottest device is at {temperature_celsius} °C, above {limit_celsius} °C')],
        still_hot: [_('The hottest device is at {temperature_celsius} °C, not yet down to {limit_celsius} °C')],
        fan_loud: [_('The fan runs at {fan_percent} %, above {limit_percent} %')],
        fan_still_loud: [_('The fan runs at {fan_percent} %, not yet down to {limit_percent} %')],
        performance_degraded: [_('The machine is throttled: {detail}')],
        budget_ultra: [_('Today’s {limit_watt_hours} Wh are spent; Ultra Efficiency until midnight')],
    };
}

/**
 * The templates of what a failing backend does wrong.
 *
 * @param {Function} _ - gettext
 * @returns {object} by code
 */
function failureTemplates(_) {
    return {
        failing: [_('{reason}; tried again in {left_seconds} s'), '{reason}'],
        fails_refused: [_('it refuses connections')],
        fails_reset: [_('it broke off its answers')],
        fails_stalled: [_('it was silent for too long')],
        fails_server_error: [_('it answered with an error of status {status}'), _('it answered with an error')],
        fails_out_of_memory: [_('it has too little memory for {model}'), _('it has too little memory')],
        fails_busy: [_('it is busy')],
        fails_device_lost: [_('its engine lost the device; restart the engine')],
        rate_limited: [_('it asked to be left alone, since its rate is limited')],
        fails_key_rejected: [_('its key is rejected')],
        fails_no_credit: [_('its account has no credit')],
        fails_model_gone: [_('it says that it has no {model}')],
        fails_not_loaded: [_('it did not load {model}')],
    };
}

/**
 * The templates of the limits that a backend is beyond.
 *
 * @param {Function} _ - gettext
 * @returns {object} by code
 */
function limitTemplates(_) {
    const power = [_('{power_watts} W > {limit_watts} W')];
    const heat = [_('{temperature_celsius} °C > {limit_celsius} °C')];
    const fan = [_('fan at {fan_percent} % > {limit_percent} %')];
    const throttled = [_('throttled: {detail}')];
    const game = [_('reserved for a running game')];
    return {
        limit_power: power,
        mode_power: power,
        limit_temperature: heat,
        mode_temperature: heat,
        limit_fan: fan,
        mode_fan: fan,
        limit_throttling: throttled,
        throttling: throttled,
        limit_game: game,
        game,
        limit_critical_heat: [_('{temperature_celsius} °C is critical')],
        mode_wait: [_('busy for about {wait_seconds} s')],
        mode_concurrency: [_('requests under way: {in_flight}')],
    };
}

/**
 * Limits that a backend is beyond, in few words.
 *
 * @param {unknown} limits - reasons, as the daemon told them
 * @param {object} text - what translates
 * @returns {string} empty where there are none
 */
export function spokenLimits(limits, text) {
    return Array.isArray(limits) ? limits.map(each => phrase(each, {}, text)).filter(Boolean).join('; ') : '';
}

/**
 * The reason that an object's properties tell.
 *
 * @param {object} properties - of Efficiency or of a backend
 * @returns {object} {reason, reason_code, reason_details}
 */
export function reasonOf({Reason, ReasonCode, ReasonDetails}) {
    return {reason: Reason, reason_code: ReasonCode, reason_details: ReasonDetails};
}

/**
 * A reason as a line of its own.
 *
 * @param {object} told - {reason, reason_code, reason_details}, each perhaps missing
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @returns {string}
 */
export function spoken(told, efficiency, text) {
    return capital(phrase(told, efficiency, text));
}

/**
 * A reason as a part of a line.
 *
 * @param {object} told - {reason, reason_code, reason_details}, each perhaps missing
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @param {number} depth - how many reasons may still stand in each other
 * @returns {string}
 */
export function phrase(told, efficiency, text, depth = DEEPEST) {
    const {reason, reason_code: code, reason_details: details} = facts(told);
    const known = {...templates(text._), ...limitTemplates(text._), ...failureTemplates(text._)};
    const values = depth > 0 && Object.hasOwn(known, words(code)) ? valuesOf(facts(details), efficiency, text, depth) : null;
    const template = values && known[code].find(each => isTold(each, values));
    return template ? fill(template, values) : words(reason);
}

function valuesOf(details, efficiency, text, depth) {
    return Object.fromEntries(Object.entries(details).map(([name, value]) => {
        if (MODES.has(name))
            return [name, modeLabel(efficiency, value, text)];
        if (typeof value === 'number' || typeof value === 'bigint')
            return [name, new Intl.NumberFormat(text.locale, {maximumFractionDigits: 1}).format(value)];
        return [name, typeof value === 'string' ? value : phrase(value, efficiency, text, depth - 1)];
    }));
}

function isTold(template, values) {
    return [...template.matchAll(/\{(\w+)\}/g)].every(([, name]) => Object.hasOwn(values, name));
}
