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

/** Dictionaries, none where the value is no list. */
export const list = value => Array.isArray(value) ? value.map(facts) : [];

/** A translated template with its {names} replaced. */
export const fill = (template, values) =>
    template.replace(BEFORE_UNIT, '}\u00a0').replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

export const dotted = parts => parts.filter(Boolean).join(' · ');

/** The same sentence as a line of its own begins, and as it goes on after a colon. */
export const capital = sentence => sentence.replace(/^./u, first => first.toLocaleUpperCase());
export const small = sentence => sentence.replace(/^./u, first => first.toLocaleLowerCase());

/** A number in the person's own notation: one digit after the point below ten, none above. */
export const figure = (value, style = {maximumFractionDigits: Math.abs(value) < 9.95 ? 1 : 0}) =>
    new Intl.NumberFormat(undefined, style).format(value);

/** Percent as the Shell writes it: "43%", in French "43 %". */
export const percent = value => figure(value / 100, {style: 'percent', maximumFractionDigits: 1});

export function energy(joules) {
    const hours = Math.max(joules / JOULES_PER_WATT_HOUR, LEAST_WATT_HOURS);
    const style = hours < 9.95 ? {maximumSignificantDigits: 2} : {maximumFractionDigits: 0};
    return fill(_('{n} Wh'), {n: figure(hours, style)});
}

const measured = (template, value, digits) => known(value) === null ? '' : fill(template, {n: figure(value, digits)});
/** Nothing where it is not known. */
export const power = watts => measured(_('{n} W'), watts);
export const speed = tokensPerSecond => measured(_('{n} tok/s'), tokensPerSecond);
export const temperature = celsius => measured(_('{n} °C'), celsius, {maximumFractionDigits: 0});
