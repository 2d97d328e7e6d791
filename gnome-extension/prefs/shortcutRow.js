// SPDX-License-Identifier: MIT
// A row that shows a keyboard shortcut and asks for another one.
import Adw from 'gi://Adw';
import Gdk from 'gi://Gdk';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';

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

/** The row: {row, show}; `chosen` hears the new accelerator, which is empty where the shortcut is off. */
export function shortcutRow(title, chosen) {
    const label = new Gtk.ShortcutLabel({disabled_text: _('Off'), valign: Gtk.Align.CENTER});
    const off = new Gtk.Button({
        css_classes: ['flat'], icon_name: 'edit-clear-symbolic', tooltip_text: _('Switch the shortcut off'), valign: Gtk.Align.CENTER,
    });
    off.connect('clicked', () => chosen(''));
    const row = new Adw.ActionRow({title, subtitle: _('Click or press Enter, then press the keys'), activatable: true});
    row.add_suffix(label);
    row.add_suffix(off);
    row.connect('activated', () => ask(row, chosen));
    const show = accelerator => {
        label.accelerator = accelerator;
        off.visible = accelerator !== '';
        const [ok, key, modifiers] = Gtk.accelerator_parse(accelerator);
        label.update_property([Gtk.AccessibleProperty.LABEL],
            [ok && accelerator ? Gtk.accelerator_get_label(key, modifiers) : _('Off')]);
    };
    return {row, show};
}

/** A window that waits for the keys. */
function ask(row, chosen) {
    const status = new Adw.StatusPage({
        css_classes: ['compact'], icon_name: 'preferences-desktop-keyboard-shortcuts-symbolic', title: _('Press the Keys'),
        description: _('Esc leaves it as it is, Backspace switches it off.'),
    });
    const content = new Adw.ToolbarView({content: status});
    content.add_top_bar(new Adw.HeaderBar({show_title: false}));
    const dialog = new Adw.Window({
        title: row.title, content, modal: true, transient_for: row.get_root(), default_width: 380, default_height: 320,
    });
    const keys = new Gtk.EventControllerKey({propagation_phase: Gtk.PropagationPhase.CAPTURE});
    keys.connect('key-pressed', (_keys, keyval, keycode, state) => {
        const modifiers = state & Gtk.accelerator_get_default_mod_mask();
        const has = mask => (modifiers & mask) !== 0;
        const todo = meaning({
            key: Gdk.keyval_name(keyval) ?? '',
            control: has(Gdk.ModifierType.CONTROL_MASK), alt: has(Gdk.ModifierType.ALT_MASK),
            super: has(Gdk.ModifierType.SUPER_MASK), shift: has(Gdk.ModifierType.SHIFT_MASK),
        });
        if (todo === 'refuse')
            status.description = _('Hold Ctrl, Alt or Super with it, or press a function key.');
        if (todo === 'clear')
            chosen('');
        if (todo === 'take')
            chosen(Gtk.accelerator_name_with_keycode(null, Gdk.keyval_to_lower(keyval), keycode, modifiers));
        if (['clear', 'take', 'cancel'].includes(todo))
            dialog.close();
        return Gdk.EVENT_STOP;
    });
    dialog.add_controller(keys);
    dialog.present();
}
