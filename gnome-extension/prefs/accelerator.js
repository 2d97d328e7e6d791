// SPDX-License-Identifier: MIT
// Which keys may become a shortcut of the whole desktop; pure, so that it can be tested without GTK.

const FREE_KEYS = /^(F([1-9]|1\d|2\d)|XF86.*|Launch\w*|Pause|Print|Scroll_Lock)$/;
const HALF_KEYS = /^(Control|Shift|Alt|Super|Meta|Hyper)_[LR]$|^(ISO_.*|Caps_Lock|Num_Lock|Mode_switch|Multi_key|dead_.*|VoidSymbol)$/;

/** What a pressed key means while a shortcut is being chosen. */
export function meaning(pressed) {
    const modified = pressed.control || pressed.alt || pressed.super;
    if (HALF_KEYS.test(pressed.key))
        return 'wait';
    if (!modified && !pressed.shift && pressed.key === 'Escape')
        return 'cancel';
    if (!modified && !pressed.shift && pressed.key === 'BackSpace')
        return 'clear';
    // Without such a key the shortcut would take a letter away from every text field.
    return modified || FREE_KEYS.test(pressed.key) ? 'take' : 'refuse';
}
