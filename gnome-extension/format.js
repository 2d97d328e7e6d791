// Numbers and sentences for people; pure, so that it runs under Node as well.

const MOST_JOULES = 1000;
const JOULES_PER_WATT_HOUR = 3600;
const JOULES_PER_KILOWATT_HOUR = 1000 * JOULES_PER_WATT_HOUR;

/**
 * A text, or nothing where the value is none.
 *
 * @param {unknown} value - what came over D-Bus
 * @returns {string}
 */
export function words(value) {
    return typeof value === 'string' ? value.trim() : '';
}

/**
 * A number, or null where it is not known: D-Bus says NaN, an old daemon says nothing.
 *
 * @param {unknown} value - what came over D-Bus
 * @returns {number|null}
 */
export function known(value) {
    return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/**
 * A dictionary, empty where the value is none.
 *
 * @param {unknown} value - what came over D-Bus
 * @returns {object}
 */
export function facts(value) {
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};
}

/**
 * A translated template with its {names} replaced.
 *
 * @param {string} template - as the translation has it
 * @param {object} values - by name
 * @returns {string}
 */
export function fill(template, values) {
    return template.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * The same sentence with a capital letter, as a line of its own begins.
 *
 * @param {string} sentence - in the daemon's words
 * @returns {string}
 */
export function capital(sentence) {
    const [first = ''] = sentence;
    return first.toLocaleUpperCase() + sentence.slice(first.length);
}

/**
 * A number in the person's own notation: one digit after the point below ten, none above.
 *
 * @param {number} value - any finite number
 * @param {object} text - what translates: {_, ngettext, locale}
 * @returns {string}
 */
export function figure(value, text) {
    const maximumFractionDigits = Math.abs(value) < 9.95 ? 1 : 0;
    return new Intl.NumberFormat(text.locale, {maximumFractionDigits}).format(value);
}

/**
 * An amount of energy in the unit that people read best.
 *
 * @param {number} joules - not negative
 * @param {object} text - what translates
 * @returns {string}
 */
export function energy(joules, text) {
    const {_} = text;
    if (joules < MOST_JOULES)
        return fill(_('{n} J'), {n: figure(joules, text)});
    if (joules < JOULES_PER_KILOWATT_HOUR)
        return fill(_('{n} Wh'), {n: figure(joules / JOULES_PER_WATT_HOUR, text)});
    return fill(_('{n} kWh'), {n: figure(joules / JOULES_PER_KILOWATT_HOUR, text)});
}

/**
 * A power.
 *
 * @param {number} watts - any finite number
 * @param {object} text - what translates
 * @returns {string}
 */
export function power(watts, text) {
    return fill(text._('{n} W'), {n: figure(watts, text)});
}

/**
 * A speed of answering.
 *
 * @param {number} tokensPerSecond - any finite number
 * @param {object} text - what translates
 * @returns {string}
 */
export function speed(tokensPerSecond, text) {
    return fill(text._('{n} tok/s'), {n: figure(tokensPerSecond, text)});
}

/**
 * A temperature.
 *
 * @param {number} celsius - any finite number
 * @param {object} text - what translates
 * @returns {string}
 */
export function temperature(celsius, text) {
    return fill(text._('{n} °C'), {n: Math.round(celsius)});
}
