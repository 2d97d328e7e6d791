// SPDX-License-Identifier: MIT
// The efficiency modes as the daemon tells them, and its reasons in the person's language. Pure.

import {capital, facts, figure, fill, list, percent, words, _} from './format.js';

export const AUTO = 'Auto';
const FIRST_CHOICE = 'Balanced';
const DEEPEST = 3;

/** The icon, label and description of each mode: an old daemon tells no words, and translators find them here. */
const usual = () => ({
    Auto: ['auto', _('Auto'), _('Follows the battery, the heat and the power profile')],
    Performance: ['performance', _('Performance'), _('The fastest answer, whatever it costs')],
    Balanced: ['balanced', _('Balanced'), _('A quick answer at a fair cost')],
    Efficiency: ['efficiency', _('Efficiency'), _('Less energy for a slower answer')],
    Quiet: ['quiet', _('Quiet'), _('Slow fans and a cool lap')],
    UltraEfficiency: ['ultra', _('Ultra Efficiency'), _('Least energy, however slow')],
});

/** The name of a file in icons/; a mode that nobody knows yet has a general one. */
export const modeIcon = token => `ai-mode-${usual()[token]?.[0] ?? 'other'}`;

/** Every mode that can be chosen, {token, label, description}: Auto first and then as the daemon lists them. */
export function listModes({Modes: modes}) {
    const told = list(modes).filter(({mode}) => words(mode));
    if (told.length === 0)
        return Object.entries(usual()).map(([token, [, label, description]]) => ({token, label, description}));
    const translated = sentence => sentence && _(sentence); // gettext answers an empty message with its header
    return told.map(({mode: token, label, description}) =>
        ({token, label: _(words(label) || token), description: translated(words(description))}))
        .sort((a, b) => Number(b.token === AUTO) - Number(a.token === AUTO));
}

/** A mode by its token, called by it where the daemon does not list it. */
export const modeOf = (efficiency, token) =>
    listModes(efficiency).find(mode => mode.token === token) ?? {token, label: token, description: ''};

/** The token of the mode after the chosen one, with the first after the last. */
export function nextMode(efficiency) {
    const modes = listModes(efficiency);
    return modes[(modes.findIndex(mode => mode.token === efficiency.CurrentMode) + 1) % modes.length].token;
}

/** The other side of the tile: the last mode chosen by hand while Auto is on, Auto otherwise. */
export function otherSide(efficiency, lastManual) {
    if (efficiency.CurrentMode !== AUTO)
        return AUTO;
    const manual = listModes(efficiency).map(mode => mode.token).filter(token => token !== AUTO);
    return [lastManual, FIRST_CHOICE].find(token => manual.includes(token)) ?? manual[0] ?? AUTO;
}

/**
 * Why a mode is in force: templates by the codes of docs/reasons.md, the fullest first; one counts where all of its
 * values were told. A code that is not known here stays as the daemon's sentence.
 */
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

/** A reason as a line of its own, and as a part of one. */
export const spoken = (told, efficiency) => capital(phrase(told, efficiency));

export function phrase(told, efficiency = {}, depth = DEEPEST) {
    const {reason, reason_code: code, reason_details: details} = facts(told);
    const all = {...ofModes(), ...ofBackends()};
    const isKnown = depth > 0 && Object.hasOwn(all, words(code));
    const values = isKnown ? valuesOf(facts(details), efficiency, depth - 1) : null;
    const isTold = template => [...template.matchAll(/\{(\w+)\}/g)].every(([, name]) => Object.hasOwn(values, name));
    const template = values && all[code].find(isTold);
    return template ? fill(template, values) : words(reason);
}

function valuesOf(details, efficiency, depth) {
    const written = (name, value) => {
        if (['mode', 'next_mode'].includes(name))
            return modeOf(efficiency, value).label;
        if (name.endsWith('_percent'))
            return percent(Number(value));
        if (typeof value === 'number' || typeof value === 'bigint')
            return figure(value, {maximumFractionDigits: 1});
        if (Array.isArray(value))
            return value.map(each => phrase(each, efficiency, depth)).join(', ');
        return typeof value === 'string' ? value : phrase(value, efficiency, depth);
    };
    return Object.fromEntries(Object.entries(details).map(([name, value]) => [name, written(name, value)]));
}
