// SPDX-License-Identifier: MIT
// The page "Auto": the daemon's own settings, which it keeps; here they are only shown, and asked to be changed.
import Adw from 'gi://Adw';
import GObject from 'gi://GObject';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';
import {Presence} from '../shared/daemonState.js';
import {DaemonNotice} from './daemonNotice.js';
import {DaemonSettings} from './daemonSettings.js';

export class AutoPage {
    constructor(daemon, tell, start) {
        this._daemon = daemon;
        this._tell = tell;
        this._settings = new DaemonSettings(entries => daemon.changeSettings(entries), tell, () => this.show());
        this._rows = new Map();
        this._notice = new DaemonNotice(start);
        this._groups = [this._quietHours(), this._battery(), this._back()];
        this.page = new Adw.PreferencesPage({name: 'auto', title: _('Auto'), icon_name: 'weather-clear-night-symbolic'});
        [this._notice.group, ...this._groups].forEach(group => this.page.add(group));
    }

    /** Shows what the daemon says now. */
    show() {
        const {state} = this._daemon;
        const {Settings: told = {}, ChangedSettings: changedSettings = []} = state.efficiency;
        const isRunning = state.presence === Presence.RUNNING;
        this._notice.show(state);
        this._settings.told(told);
        this._groups.forEach(group => (group.sensitive = isRunning));
        for (const [key, {back, control, show}] of this._rows) {
            const value = this._settings.shown(key);
            control.visible = value !== undefined; // an unknown number is not 0
            back.visible = changedSettings.includes(key);
            this._isShowing = true;
            if (value !== undefined)
                show(value);
            this._isShowing = false;
        }
        this._backToAll.visible = changedSettings.length > 0;
    }

    _quietHours() {
        const group = new Adw.PreferencesGroup({
            title: _('Quiet Hours'), description: _('In these hours Auto takes Quiet: slow fans and a cool lap.'),
        });
        const on = new Gtk.Switch({valign: Gtk.Align.CENTER});
        this._addControl(group, 'quiet_hours_enabled', {title: _('Keep Quiet Hours')}, on, 'active');
        for (const [key, title] of [['quiet_hours_start', _('From')], ['quiet_hours_end', _('To')]]) {
            const {button, show} = timeButton(title, value => this._want(key, value));
            const row = this._add(group, key, {title}, button, show);
            on.bind_property('active', row, 'sensitive', GObject.BindingFlags.SYNC_CREATE);
        }
        return group;
    }

    _battery() {
        const group = new Adw.PreferencesGroup({
            title: _('Battery'), description: _('Charge in percent at which Auto switches modes.'),
        });
        for (const [key, title, subtitle] of [
            ['critical_battery_percent', _('Critical'), _('On battery below this, Auto takes Ultra Efficiency')],
            ['low_battery_percent', _('Low'), _('On battery below this, Auto takes Efficiency')],
            ['full_battery_percent', _('Full'), _('Plugged in above this, Auto takes Performance')],
        ]) {
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
        this._rows.set(key, {back, control, show});
        return row;
    }

    /** Nobody looks any more. */
    close() {
        this._settings.close();
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

/** Shows a time of day, "22:00" as the daemon writes it, and lets another one be chosen in a popover. */
function timeButton(title, chosen) {
    let shown = '';
    const spins = [[23, _('Hour')], [59, _('Minute')]].map(([last, name]) => {
        const spin = Gtk.SpinButton.new_with_range(0, last, 1);
        spin.set({orientation: Gtk.Orientation.VERTICAL, numeric: true, wrap: true, width_chars: 2});
        spin.update_property([Gtk.AccessibleProperty.LABEL], [name]);
        spin.connect('output', () => {
            spin.text = twoDigits(spin);
            return true;
        });
        return spin;
    });
    const box = new Gtk.Box({spacing: 6, halign: Gtk.Align.CENTER});
    box.set_direction(Gtk.TextDirection.LTR); // a time is written so everywhere
    const colon = new Gtk.Label({label: ':', accessible_role: Gtk.AccessibleRole.PRESENTATION});
    [spins[0], colon, spins[1]].forEach(each => box.append(each));
    const popover = new Gtk.Popover({child: box});
    popover.connect('closed', () => {
        const value = spins.map(twoDigits).join(':');
        if (value !== shown)
            chosen(value);
    });
    const button = new Gtk.MenuButton({popover, valign: Gtk.Align.CENTER, css_classes: ['numeric']});
    const show = value => {
        shown = value;
        button.label = value;
        button.update_property([Gtk.AccessibleProperty.LABEL], [`${title}: ${value}`]);
        if (!button.active) // else a person is choosing
            value.split(':').forEach((number, i) => (spins[i].value = Number(number)));
    };
    return {button, show};
}

const twoDigits = spin => String(spin.get_value_as_int()).padStart(2, '0');
