// SPDX-License-Identifier: MIT
// Numbers and sentences in the person's language. Pure, but for gettext.

import GLib from 'gi://GLib';

const DOMAIN = 'ollama-proxy@fio.ie'; // both processes bind it when they load the extension
export const _ = message => GLib.dgettext(DOMAIN, message);
export const ngettext = (one, many, n) => GLib.dngettext(DOMAIN, one, many, n);

export const JOULES_PER_WATT_HOUR = 3600;
const LEAST_WATT_HOURS = 0.01;

/** A value and its unit stay on one line (U+00A0), in every translation. */
const BEFORE_UNIT = /\} (?=(?:k?Wh?|J|s|°C|%|tok\/s|Token\/s|GiB|Gio)(?!\p{L}))/gu;

/** A text, or nothing where the value is none. */
export const words = value => typeof value === 'string' ? value.trim() : '';

/** A number, or null where it is not known: D-Bus says NaN, an old daemon says nothing. */
export const known = value => typeof value === 'number' && Number.isFinite(value) ? value : null;

/** A dictionary, empty where the value is none. */
export const facts = value => value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};

/** A translated template with its {names} replaced. */
export function fill(template, values) {
    return template.replace(BEFORE_UNIT, '}\u00a0').replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

function withFirst(sentence, change) {
    const [first = ''] = sentence;
    return change(first) + sentence.slice(first.length);
}

/** The same sentence as a line of its own begins. */
export const capital = sentence => withFirst(sentence, first => first.toLocaleUpperCase());

/** The same sentence as it goes on after a colon. */
export const small = sentence => withFirst(sentence, first => first.toLocaleLowerCase());

/** A number in the person's own notation: one digit after the point below ten, none above. */
export function figure(value) {
    return new Intl.NumberFormat(undefined, {maximumFractionDigits: Math.abs(value) < 9.95 ? 1 : 0}).format(value);
}

/** Percent as the Shell writes it: "43%", in French "43 %". */
export function percent(value) {
    return new Intl.NumberFormat(undefined, {style: 'percent', maximumFractionDigits: 1}).format(value / 100);
}

/** Energy in the unit of laptops' batteries. */
export function energy(joules) {
    const hours = Math.max(joules / JOULES_PER_WATT_HOUR, LEAST_WATT_HOURS);
    const digits = hours < 9.95 ? {maximumSignificantDigits: 2} : {maximumFractionDigits: 0};
    return fill(_('{n} Wh'), {n: new Intl.NumberFormat(undefined, digits).format(hours)});
}

export const power = watts => fill(_('{n} W'), {n: figure(watts)});
export const speed = tokensPerSecond => fill(_('{n} tok/s'), {n: figure(tokensPerSecond)});
export const temperature = celsius => fill(_('{n} °C'), {n: Math.round(celsius)});
