// SPDX-License-Identifier: MIT
// A row that shows a keyboard shortcut and asks for another one.
import Adw from 'gi://Adw';
import Gdk from 'gi://Gdk';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';
import {meaning} from './accelerator.js';

/** The row; it is off until a person has pressed a key. */
export class ShortcutRow {
    constructor(title, chosen) {
        this._chosen = chosen;
        this._label = new Gtk.ShortcutLabel({disabled_text: _('Off'), valign: Gtk.Align.CENTER});
        this._off = new Gtk.Button({
            icon_name: 'edit-clear-symbolic', tooltip_text: _('Switch the shortcut off'), valign: Gtk.Align.CENTER,
        });
        this._off.add_css_class('flat');
        this._off.connect('clicked', () => chosen(''));
        this.row = new Adw.ActionRow({title, subtitle: _('Click or press Enter, then press the keys'), activatable: true});
        this.row.add_suffix(this._label);
        this.row.add_suffix(this._off);
        this.row.connect('activated', () => this._ask());
    }

    show(accelerator) {
        this._label.accelerator = accelerator;
        this._off.visible = accelerator !== '';
        const [ok, key, modifiers] = Gtk.accelerator_parse(accelerator);
        this._label.update_property([Gtk.AccessibleProperty.LABEL],
            [ok && accelerator ? Gtk.accelerator_get_label(key, modifiers) : _('Off')]);
    }

    _ask() {
        const status = new Adw.StatusPage({
            icon_name: 'preferences-desktop-keyboard-shortcuts-symbolic', title: _('Press the Keys'),
            description: _('Esc leaves it as it is, Backspace switches it off.'),
        });
        status.add_css_class('compact');
        const view = new Adw.ToolbarView({content: status});
        view.add_top_bar(new Adw.HeaderBar({show_title: false}));
        const dialog = new Adw.Window({
            title: this.row.title, content: view, modal: true, transient_for: this.row.get_root(),
            default_width: 380, default_height: 320,
        });
        const keys = new Gtk.EventControllerKey({propagation_phase: Gtk.PropagationPhase.CAPTURE});
        keys.connect('key-pressed', (_keys, keyval, keycode, state) =>
            this._pressed(dialog, status, {keyval, keycode, state}));
        dialog.add_controller(keys);
        dialog.present();
    }

    _pressed(dialog, status, {keyval, keycode, state}) {
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
            this._chosen('');
        if (todo === 'take')
            this._chosen(Gtk.accelerator_name_with_keycode(null, Gdk.keyval_to_lower(keyval), keycode, modifiers));
        if (['clear', 'take', 'cancel'].includes(todo))
            dialog.close();
        return Gdk.EVENT_STOP;
    }
}
