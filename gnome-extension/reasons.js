// SPDX-License-Identifier: MIT
// The daemon's reasons in the person's language, by their codes (docs/reasons.md of the daemon). Pure.
// A code that is not known here stays as the daemon's sentence.

import {capital, facts, fill, percent, words, _} from './format.js';
import {modeOf} from './modes.js';

const DEEPEST = 3;
const MODES = new Set(['mode', 'next_mode']);

/** Why a mode is in force: the templates of a code, the fullest first: one counts where all of its values were told. */
const ofModes = () => ({
    as_chosen: [_('as chosen')],
    none_chosen: [_('the default, as none was chosen')],
    held: [_('held by {application_id}')],
    mode_change_pending: [_('soon {next_mode}: {reason}')],
    no_reading_yet: [_('no sensor says anything yet')],
    nothing_applies: [_('nothing asks for another mode')],
    on_battery: [_('on battery, {battery_percent}'), _('on battery')],
    battery_low: [_('battery below {limit_percent}')],
    battery_still_low: [_('on battery, {battery_percent}')],
    on_mains: [_('plugged in')],
    performance_profile: [_('plugged in, power mode Performance')],
    battery_full: [_('plugged in, {battery_percent} charged')],
    battery_not_full: [_('plugged in, {battery_percent} charged')],
    battery_still_full: [_('plugged in, {battery_percent} charged')],
    battery_charged: [_('plugged in, charged to {battery_percent}'), _('plugged in and charged')],
    power_saver_profile: [_('power mode Power Saver')],
    quiet_hours: [_('quiet hours')],
    hot: [_('{temperature_celsius} °C is too hot')],
    still_hot: [_('cooling down, {temperature_celsius} °C')],
    fan_loud: [_('fan at {fan_percent}')],
    fan_still_loud: [_('fan slows down, {fan_percent}')],
    performance_degraded: [_('throttled: {detail}')],
    budget_ultra: [_('today’s {limit_watt_hours} Wh are spent')],
});

/** Why a backend serves worse than it should, or not. */
const ofBackends = () => ({
    outside_mode: [_('not in this mode: {limits}')],
    limit_power: [_('{power_watts} W > {limit_watts} W')],
    limit_temperature: [_('{temperature_celsius} °C > {limit_celsius} °C')],
    limit_fan: [_('fan at {fan_percent}, above {limit_percent}')],
    limit_throttling: [_('throttled: {detail}')],
    limit_game: [_('kept for a game that runs')],
    limit_critical_heat: [_('{temperature_celsius} °C is critical')],
    failing: [_('{reason}; tried again in {left_seconds} s'), '{reason}'],
    fails_refused: [_('it refuses connections')],
    fails_reset: [_('it broke off its answers')],
    fails_process_ended: [_('its process for {model} ended in the middle of answers')],
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
});

/** The reason that the properties of Efficiency or of a backend tell. */
export const reasonOf = ({Reason, ReasonCode, ReasonDetails}) =>
    ({reason: Reason, reason_code: ReasonCode, reason_details: ReasonDetails});

/** A reason as a line of its own. */
export const spoken = (told, efficiency) => capital(phrase(told, efficiency));

/** A reason as a part of a line. */
export function phrase(told, efficiency = {}, depth = DEEPEST) {
    const {reason, reason_code: code, reason_details: details} = facts(told);
    const all = {...ofModes(), ...ofBackends()};
    const values = depth > 0 && Object.hasOwn(all, words(code)) ? valuesOf(facts(details), efficiency, depth) : null;
    const template = values && all[code].find(each => isTold(each, values));
    return template ? fill(template, values) : words(reason);
}

function valuesOf(details, efficiency, depth) {
    return Object.fromEntries(Object.entries(details).map(([name, value]) => {
        if (MODES.has(name))
            return [name, modeOf(efficiency, value).label];
        if (name.endsWith('_percent'))
            return [name, percent(Number(value))];
        if (typeof value === 'number' || typeof value === 'bigint')
            return [name, new Intl.NumberFormat(undefined, {maximumFractionDigits: 1}).format(value)];
        if (Array.isArray(value))
            return [name, value.map(each => phrase(each, efficiency, depth - 1)).join(', ')];
        return [name, typeof value === 'string' ? value : phrase(value, efficiency, depth - 1)];
    }));
}

function isTold(template, values) {
    return [...template.matchAll(/\{(\w+)\}/g)].every(([, name]) => Object.hasOwn(values, name));
}
