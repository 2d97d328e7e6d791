// SPDX-License-Identifier: MIT
// The page "General": what belongs to the extension itself, kept in GSettings.
import Adw from 'gi://Adw';
import Gio from 'gi://Gio';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';
import {modeOf} from '../modes.js';
import {shortcutRow} from './shortcutRow.js';

const MODES = ['Performance', 'Balanced', 'Efficiency', 'Quiet', 'UltraEfficiency'];
const SHORTCUT = 'cycle-mode-shortcut';

/** The page; it follows the settings until `close`. */
export class GeneralPage {
    constructor(settings) {
        this._settings = settings;
        this._handlers = [];
        this.page = new Adw.PreferencesPage({
            name: 'general', title: _('General'), icon_name: 'preferences-system-symbolic',
        });
        this._group({title: _('Quick Settings')}, this._quickSettings());
        this._group({title: _('Notifications'), description: _('Never for what you chose yourself.')}, [
            this._switch('notify-auto', _('Auto Switches Modes'), _('With the reason')),
            this._switch('notify-backends', _('A Backend Is Down')),
            this._switch('notify-throttling', _('A Device Is Throttled'), _('While a request runs there')),
        ]);
        const {row, show} = shortcutRow(_('Next Mode'), keys => settings.set_strv(SHORTCUT, keys ? [keys] : []));
        this._follow(SHORTCUT, () => show(settings.get_strv(SHORTCUT)[0] ?? ''));
        this._group({title: _('Keyboard')}, [row]);
    }

    close() {
        this._handlers.forEach(id => this._settings.disconnect(id));
    }

    _group(properties, rows) {
        const group = new Adw.PreferencesGroup(properties);
        rows.forEach(row => group.add(row));
        this.page.add(group);
    }

    _quickSettings() {
        const click = this._choice('click-action', {title: _('Clicking the Tile')}, {
            'toggle-auto': _('Toggles Auto'), 'cycle': _('Next mode'), 'open-menu': _('Opens the menu'),
        });
        const mode = this._choice('manual-mode',
            {title: _('Mode Without Auto'), subtitle: _('What a click takes when it switches Auto off')},
            Object.fromEntries(MODES.map(token => [token, modeOf({}, token).label])));
        this._follow('click-action', () => (mode.sensitive = this._settings.get_string('click-action') === 'toggle-auto'));
        const indicator = this._choice('indicator', {title: _('Icon in the Top Bar')}, {
            never: _('Never'), working: _('While answering'), always: _('Always'),
        });
        return [click, mode, indicator];
    }

    /** A row that offers a few values by their names. */
    _choice(key, properties, names) {
        const values = Object.keys(names);
        const row = new Adw.ComboRow({...properties, model: Gtk.StringList.new(Object.values(names))});
        this._follow(key, () => (row.selected = values.indexOf(this._settings.get_string(key))));
        row.connect('notify::selected', () => this._settings.set_string(key, values[row.selected]));
        return row;
    }

    _switch(key, title, subtitle = '') {
        const row = new Adw.SwitchRow({title, subtitle});
        this._settings.bind(key, row, 'active', Gio.SettingsBindFlags.DEFAULT);
        return row;
    }

    /** Shows a setting now, and whenever it changes. */
    _follow(key, show) {
        this._handlers.push(this._settings.connect(`changed::${key}`, show));
        show();
    }
}
