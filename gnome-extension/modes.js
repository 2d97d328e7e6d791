// SPDX-License-Identifier: MIT
// The efficiency modes as the daemon tells them: their names, their icons and which comes next. Pure.

import {facts, words, _} from './format.js';

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

/** The daemon's usual labels and descriptions: an old daemon tells none, and translators find them here. */
const usual = () => ({
    Auto: [_('Auto'), _('Follows the battery, the heat and the power profile')],
    Performance: [_('Performance'), _('The fastest answer, whatever it costs')],
    Balanced: [_('Balanced'), _('A quick answer at a fair cost')],
    Efficiency: [_('Efficiency'), _('Less energy for a slower answer')],
    Quiet: [_('Quiet'), _('Slow fans and a cool lap')],
    UltraEfficiency: [_('Ultra Efficiency'), _('Least energy, however slow')],
});

/** gettext answers an empty message with its header. */
const translated = sentence => sentence ? _(sentence) : '';

/** The name of a file in icons/; a mode that nobody knows yet has a general one. */
export const modeIcon = token => Object.hasOwn(ICONS, token) ? ICONS[token] : 'ai-mode-other';

/** Every mode that can be chosen, {token, label, description}: Auto first and then as the daemon lists them. */
export function listModes(efficiency) {
    const told = Array.isArray(efficiency.Modes) ? efficiency.Modes.map(facts) : [];
    const modes = told.filter(mode => words(mode.mode)).map(mode => ({
        token: mode.mode,
        label: translated(words(mode.label) || mode.mode),
        description: translated(words(mode.description)),
    }));
    if (modes.length === 0) {
        for (const [token, [label, description]] of Object.entries(usual()))
            modes.push({token, label, description});
    }
    return modes.sort((a, b) => Number(b.token === AUTO) - Number(a.token === AUTO));
}

/** A mode by its token, called by it where the daemon does not list it. */
export function modeOf(efficiency, token) {
    return listModes(efficiency).find(mode => mode.token === token) ?? {token, label: token, description: ''};
}

/** The token of the mode after the chosen one, with the first after the last. */
export function nextMode(efficiency) {
    const modes = listModes(efficiency);
    const now = modes.findIndex(mode => mode.token === efficiency.CurrentMode);
    return modes[(now + 1) % modes.length].token;
}

/** The other side of the tile: the last mode chosen by hand while Auto is on, Auto otherwise. */
export function otherSide(efficiency, lastManual) {
    if (efficiency.CurrentMode !== AUTO)
        return AUTO;
    const manual = listModes(efficiency).map(mode => mode.token).filter(token => token !== AUTO);
    return [lastManual, FIRST_CHOICE].find(token => manual.includes(token)) ?? manual[0] ?? AUTO;
}
