// SPDX-License-Identifier: MIT
// The page "Auto": the daemon's own settings, which it keeps; here they are only shown, and asked to be changed.
import Adw from 'gi://Adw';
import GObject from 'gi://GObject';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';
import {Presence} from '../shared/daemonState.js';
import {DaemonNotice} from './daemonNotice.js';
import {DaemonSettings} from './daemonSettings.js';
import {TimeButton} from './timeButton.js';

/** The page and what it has to let go of. */
export class AutoPage {
    constructor(daemon, tell, start) {
        this._daemon = daemon;
        this._tell = tell;
        this._settings = new DaemonSettings(entries => daemon.changeSettings(entries),
            tell, () => this.show());
        this._rows = new Map();
        this._notice = new DaemonNotice(start);
        this._groups = [this._quietHours(), this._battery(), this._back()];
        this.page = new Adw.PreferencesPage({name: 'auto', title: _('Auto'), icon_name: 'weather-clear-night-symbolic'});
        [this._notice.group, ...this._groups].forEach(group => this.page.add(group));
    }

    /** Show what the daemon says now. */
    show() {
        const {state} = this._daemon;
        const {Settings: settings, ChangedSettings: changedSettings = []} = state.efficiency;
        const isRunning = state.presence === Presence.RUNNING;
        const there = isRunning && settings !== undefined;
        this._notice.show(state, isRunning && !there);
        this._settings.told(settings ?? {});
        this._groups.forEach(group => (group.sensitive = there));
        for (const [key, {row, back, control, show}] of this._rows) {
            const value = this._settings.shown(key);
            row.visible = !there || value !== undefined;
            control.visible = value !== undefined; // an unknown number is not 0
            back.visible = changedSettings.includes(key);
            this._isShowing = true;
            if (value !== undefined)
                show(value);
            this._isShowing = false;
        }
        this._backToAll.visible = changedSettings.length > 0;
    }

    /** Nobody looks any more. */
    close() {
        this._settings.close();
    }

    _quietHours() {
        const group = new Adw.PreferencesGroup({
            title: _('Quiet Hours'), description: _('In these hours Auto takes Quiet: slow fans and a cool lap.'),
        });
        const on = new Gtk.Switch({valign: Gtk.Align.CENTER});
        this._addControl(group, 'quiet_hours_enabled', {title: _('Keep Quiet Hours')}, on, 'active');
        for (const [key, title] of [['quiet_hours_start', _('From')], ['quiet_hours_end', _('To')]]) {
            const time = new TimeButton(title, value => this._want(key, value));
            const row = this._add(group, key, {title}, time.button, value => time.show(value));
            on.bind_property('active', row, 'sensitive', GObject.BindingFlags.SYNC_CREATE);
        }
        return group;
    }

    _battery() {
        const group = new Adw.PreferencesGroup({
            title: _('Battery'), description: _('Charge in percent at which Auto switches modes.'),
        });
        const rows = {
            critical_battery_percent: [_('Critical'), _('On battery below this, Auto takes Ultra Efficiency')],
            low_battery_percent: [_('Low'), _('On battery below this, Auto takes Efficiency')],
            full_battery_percent: [_('Full'), _('Plugged in above this, Auto takes Performance')],
        };
        for (const [key, [title, subtitle]] of Object.entries(rows)) {
            const spin = Gtk.SpinButton.new_with_range(0, 100, 1);
            spin.set({numeric: true, valign: Gtk.Align.CENTER});
            spin.update_property([Gtk.AccessibleProperty.LABEL], [title]);
            this._addControl(group, key, {title, subtitle}, spin, 'value');
        }
        return group;
    }

    _back() {
        const group = new Adw.PreferencesGroup();
        this._backToAll = new Gtk.Button({
            css_classes: ['pill'], label: _('_Back to the Configuration'), use_underline: true, halign: Gtk.Align.CENTER,
        });
        this._backToAll.connect('clicked', () => this._reset([]));
        group.add(this._backToAll);
        return group;
    }

    _addControl(group, key, properties, control, property) {
        this._add(group, key, properties, control, value => {
            // Even a value that is there already would end what a person does: a switch on its way, a number half typed.
            if (control[property] !== value)
                control[property] = value;
        });
        control.connect(`notify::${property}`, () => this._want(key, control[property]));
    }

    /** The way back stands before the control, so that nothing moves away under the pointer when it appears. */
    _add(group, key, properties, control, show) {
        const row = new Adw.ActionRow({...properties, activatable_widget: control});
        const back = new Gtk.Button({
            css_classes: ['flat'], icon_name: 'edit-undo-symbolic', valign: Gtk.Align.CENTER, visible: false,
            tooltip_text: _('Changed here: back to the value of the configuration'),
        });
        back.connect('clicked', () => this._reset([key]));
        row.add_suffix(back);
        row.add_suffix(control);
        group.add(row);
        this._rows.set(key, {row, back, control, show});
        return row;
    }

    /** A row that is made to show something is not a person who wants it. */
    _want(key, value) {
        if (!this._isShowing)
            this._settings.want(key, value);
    }

    _reset(keys) {
        this._daemon.ask('efficiency', 'ResetSettings', '(as)', [keys]).catch(this._tell);
    }
}
