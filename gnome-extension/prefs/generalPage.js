// SPDX-License-Identifier: MIT
// The page "General": what belongs to the extension itself, kept in GSettings.
import Adw from 'gi://Adw';
import Gio from 'gi://Gio';
import Gtk from 'gi://Gtk';

import {ShortcutRow} from './shortcutRow.js';
import {_} from '../text.js';

/** The page and what it has to let go of. */
export class GeneralPage {
    constructor(settings) {
        this._settings = settings;
        this._handlers = [];
        this.page = new Adw.PreferencesPage({
            name: 'general', title: _('General'), icon_name: 'preferences-system-symbolic',
        });
        this.page.add(this._quickSettings());
        this.page.add(this._notifications());
        this.page.add(this._keyboard());
    }

    /** Let go of the settings. */
    close() {
        this._handlers.splice(0).forEach(id => this._settings.disconnect(id));
    }

    _quickSettings() {
        const group = new Adw.PreferencesGroup({title: _('Quick Settings')});
        const click = this._choice('click-action', {title: _('Clicking the Tile')}, [
            ['toggle-auto', _('Toggles Auto')],
            ['cycle', _('Next mode')],
            ['open-menu', _('Opens the menu')],
        ]);
        const mode = this._choice('manual-mode',
            {title: _('Mode Without Auto'), subtitle: _('What a click takes when it switches Auto off')}, [
                ['Performance', _('Performance')],
                ['Balanced', _('Balanced')],
                ['Efficiency', _('Efficiency')],
                ['Quiet', _('Quiet')],
                ['UltraEfficiency', _('Ultra Efficiency')],
            ]);
        const onlyThen = () => {
            mode.sensitive = this._settings.get_string('click-action') === 'toggle-auto';
        };
        this._handlers.push(this._settings.connect('changed::click-action', onlyThen));
        onlyThen();
        const indicator = this._choice('indicator', {title: _('Icon in the Top Bar')}, [
            ['never', _('Never')],
            ['working', _('While answering')],
            ['always', _('Always')],
        ]);
        [click, mode, indicator].forEach(row => group.add(row));
        return group;
    }

    _notifications() {
        const group = new Adw.PreferencesGroup({
            title: _('Notifications'),
            description: _('Never for what you chose yourself.'),
        });
        group.add(this._switch('notify-auto', _('Auto Switches Modes'), _('With the reason')));
        group.add(this._switch('notify-backends', _('A Backend Is Down')));
        group.add(this._switch('notify-throttling', _('A Device Is Throttled'), _('While a request runs there')));
        return group;
    }

    _keyboard() {
        const group = new Adw.PreferencesGroup({title: _('Keyboard')});
        const row = new ShortcutRow(_('Next Mode'), accelerator =>
            this._settings.set_strv('cycle-mode-shortcut', accelerator ? [accelerator] : []));
        const show = () => row.show(this._settings.get_strv('cycle-mode-shortcut')[0] ?? '');
        this._handlers.push(this._settings.connect('changed::cycle-mode-shortcut', show));
        show();
        group.add(row.row);
        return group;
    }

    _choice(key, properties, choices) {
        const {row, show} = choiceRow(properties, choices, value => this._settings.set_string(key, value));
        const follow = () => show(this._settings.get_string(key));
        this._handlers.push(this._settings.connect(`changed::${key}`, follow));
        follow();
        return row;
    }

    _switch(key, title, subtitle = '') {
        const row = new Adw.SwitchRow({title, subtitle});
        this._settings.bind(key, row, 'active', Gio.SettingsBindFlags.DEFAULT);
        return row;
    }
}

/** A row that offers a few values by their names. */
function choiceRow(properties, choices, chosen) {
    const values = choices.map(([value]) => value);
    const row = new Adw.ComboRow({...properties, model: Gtk.StringList.new(choices.map(([, name]) => name))});
    let shown = values[row.selected];
    row.connect('notify::selected', () => {
        if (values[row.selected] === shown)
            return;
        shown = values[row.selected];
        chosen(shown);
    });
    const show = value => {
        if (!values.includes(value))
            return;
        shown = value;
        row.selected = values.indexOf(value);
    };
    return {row, show};
}
