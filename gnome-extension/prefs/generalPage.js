// SPDX-License-Identifier: MIT
// The page "General": what belongs to the extension itself, kept in GSettings.
import Adw from 'gi://Adw';
import Gdk from 'gi://Gdk';
import Gio from 'gi://Gio';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';

const SHORTCUT = 'cycle-mode-shortcut';
const FREE_KEYS = /^(F([1-9]|1\d|2\d)|XF86.*|Launch\w*|Pause|Print|Scroll_Lock)$/;
const HALF_KEYS = /^(Control|Shift|Alt|Super|Meta|Hyper)_[LR]$|^(ISO_.*|Caps_Lock|Num_Lock|Mode_switch|Multi_key|dead_.*|VoidSymbol)$/;

/** The page; it follows the settings until `close`. */
export class GeneralPage {
    constructor(settings) {
        this._settings = settings;
        this._handlers = [];
        const icon = 'preferences-system-symbolic';
        this.page = new Adw.PreferencesPage({name: 'general', title: _('General'), icon_name: icon});
        this._add({title: _('Quick Settings')}, [
            this._choice('click-action', _('Clicking the Tile'),
                [_('Toggles Auto'), _('Next mode'), _('Opens the menu')]),
            this._choice('indicator', _('Icon in the Top Bar'), [_('Never'), _('While answering'), _('Always')]),
        ]);
        this._add({title: _('Notifications'), description: _('Never for what you chose yourself.')}, [
            this._switch('notify-auto', _('Auto Switches Modes'), _('With the reason')),
            this._switch('notify-backends', _('A Backend Is Down')),
            this._switch('notify-throttling', _('A Device Is Throttled'), _('While a request runs there')),
        ]);
        const {row, show} = shortcutRow(_('Next Mode'), keys => settings.set_strv(SHORTCUT, keys ? [keys] : []));
        this._follow(SHORTCUT, () => show(settings.get_strv(SHORTCUT)[0] ?? ''));
        this._add({title: _('Keyboard')}, [row]);
    }

    close() {
        this._handlers.forEach(id => this._settings.disconnect(id));
    }

    _add(properties, rows) {
        const group = new Adw.PreferencesGroup(properties);
        rows.forEach(row => group.add(row));
        this.page.add(group);
    }

    /** A row that offers the values of an enumeration by their names, in the schema's order. */
    _choice(key, title, names) {
        const row = new Adw.ComboRow({title, model: Gtk.StringList.new(names)});
        this._follow(key, () => (row.selected = this._settings.get_enum(key)));
        row.connect('notify::selected', () => this._settings.set_enum(key, row.selected));
        return row;
    }

    _switch(key, title, subtitle = '') {
        const row = new Adw.SwitchRow({title, subtitle});
        this._settings.bind(key, row, 'active', Gio.SettingsBindFlags.DEFAULT);
        return row;
    }

    _follow(key, show) {
        this._handlers.push(this._settings.connect(`changed::${key}`, show));
        show();
    }
}

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

/** Shows a shortcut and, once activated, waits for another: {row, show}; `chosen` hears it, empty where it is off. */
function shortcutRow(title, chosen) {
    const label = new Gtk.ShortcutLabel({disabled_text: _('Off'), valign: Gtk.Align.CENTER});
    const row = new Adw.ActionRow({title, activatable: true});
    row.add_suffix(label);
    let isAsking = false;
    const ask = (asks, subtitle) => {
        isAsking = asks;
        row.subtitle = subtitle;
    };
    const rest = () => ask(false, _('Click or press Enter, then press the keys'));
    const keys = new Gtk.EventControllerKey({propagation_phase: Gtk.PropagationPhase.CAPTURE});
    keys.connect('key-pressed', (_keys, keyval, keycode, state) => {
        if (!isAsking)
            return Gdk.EVENT_PROPAGATE;
        const modifiers = state & Gtk.accelerator_get_default_mod_mask();
        const has = name => [name, (modifiers & Gdk.ModifierType[`${name.toUpperCase()}_MASK`]) !== 0];
        const held = Object.fromEntries(['control', 'alt', 'super', 'shift'].map(has));
        const todo = meaning({key: Gdk.keyval_name(keyval) ?? '', ...held});
        if (todo === 'refuse')
            ask(true, _('Hold Ctrl, Alt or Super with it, or press a function key.'));
        if (todo === 'clear')
            chosen('');
        if (todo === 'take')
            chosen(Gtk.accelerator_name_with_keycode(null, Gdk.keyval_to_lower(keyval), keycode, modifiers));
        if (['clear', 'take', 'cancel'].includes(todo))
            rest();
        return Gdk.EVENT_STOP;
    });
    row.add_controller(keys);
    row.connect('activated', () => ask(true, _('Esc leaves it as it is, Backspace switches it off.')));
    rest();
    const show = accelerator => {
        label.accelerator = accelerator;
        const [ok, key, modifiers] = Gtk.accelerator_parse(accelerator);
        const name = ok && accelerator ? Gtk.accelerator_get_label(key, modifiers) : _('Off');
        label.update_property([Gtk.AccessibleProperty.LABEL], [name]);
    };
    return {row, show};
}
