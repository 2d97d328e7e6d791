// The efficiency modes as the daemon tells them: their names, their icons and which comes next. Pure.

import {facts, words} from './format.js';

export const AUTO = 'Auto';
const FIRST_CHOICE = 'Balanced';

const ICONS = {
    Performance: 'ai-mode-performance',
    Balanced: 'ai-mode-balanced',
    Efficiency: 'ai-mode-efficiency',
    Quiet: 'ai-mode-quiet',
    Auto: 'ai-mode-auto',
    UltraEfficiency: 'ai-mode-ultra',
};
const OTHER_ICON = 'ai-mode-other';

/**
 * The daemon's own words, in the person's language where they are the usual ones.
 *
 * @param {string} sentence - a label or a description
 * @param {Function} _ - gettext
 * @returns {string}
 */
function translated(sentence, _) {
    return sentence ? _(sentence) : '';
}

/**
 * Names the daemon's usual labels and descriptions for the translators' template.
 *
 * @param {Function} _ - gettext
 * @returns {object} labels and descriptions by token
 */
function usual(_) {
    return {
        Auto: [_('Auto'), _('Follows the battery, the heat and the power profile')],
        Performance: [_('Performance'), _('The fastest answer, whatever it costs')],
        Balanced: [_('Balanced'), _('A quick answer at a fair cost')],
        Efficiency: [_('Efficiency'), _('Less energy for a slower answer')],
        Quiet: [_('Quiet'), _('Slow fans and a cool lap')],
        UltraEfficiency: [_('Ultra Efficiency'), _('The least energy that gives an answer')],
    };
}

/**
 * The icon of a mode; one that nobody knows yet has a general one.
 *
 * @param {string} token - the mode's token
 * @returns {string} the name of a file in icons/, without its ending
 */
export function modeIcon(token) {
    return Object.hasOwn(ICONS, token) ? ICONS[token] : OTHER_ICON;
}

/**
 * Every mode that can be chosen, Auto first and then as the daemon lists them.
 *
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @returns {Array<{token: string, label: string, description: string}>}
 */
export function listModes(efficiency, text) {
    const {_} = text;
    const told = Array.isArray(efficiency.Modes) ? efficiency.Modes.map(facts) : [];
    const modes = told.filter(mode => words(mode.mode)).map(mode => ({
        token: mode.mode,
        label: translated(words(mode.label) || mode.mode, _),
        description: translated(words(mode.description), _),
    }));
    if (modes.length === 0) {
        // A daemon that tells no list is an old one, and those knew these.
        for (const [token, [label, description]] of Object.entries(usual(_)))
            modes.push({token, label, description});
    }
    return modes.sort((a, b) => Number(b.token === AUTO) - Number(a.token === AUTO));
}

/**
 * What a mode is called.
 *
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {string} token - the mode's token
 * @param {object} text - what translates
 * @returns {string}
 */
export function modeLabel(efficiency, token, text) {
    return listModes(efficiency, text).find(mode => mode.token === token)?.label ?? token;
}

/**
 * The mode that follows the chosen one, with the first after the last.
 *
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {object} text - what translates
 * @returns {string} a token
 */
export function nextMode(efficiency, text) {
    const modes = listModes(efficiency, text);
    const now = modes.findIndex(mode => mode.token === efficiency.CurrentMode);
    return modes[(now + 1) % modes.length].token;
}

/**
 * The other side of the tile: the last mode chosen by hand while Auto is on, Auto otherwise.
 *
 * @param {object} efficiency - the properties of the daemon's object Efficiency
 * @param {string} lastManual - the token of the last mode chosen by hand
 * @param {object} text - what translates
 * @returns {string} a token
 */
export function otherSide(efficiency, lastManual, text) {
    if (efficiency.CurrentMode !== AUTO)
        return AUTO;
    const manual = listModes(efficiency, text).map(mode => mode.token).filter(token => token !== AUTO);
    return [lastManual, FIRST_CHOICE].find(token => manual.includes(token)) ?? manual[0] ?? AUTO;
}
