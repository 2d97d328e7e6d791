// SPDX-License-Identifier: MIT
// The page "Auto": the daemon's own settings, which it keeps; here they are only shown, and asked to be changed.
import GLib from 'gi://GLib';
import GObject from 'gi://GObject';
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';
import {DaemonPage} from './daemonPage.js';

const TYPES = {boolean: 'b', string: 's', number: 'd'};

export class AutoPage extends DaemonPage {
    constructor(daemon, tell, start) {
        super({name: 'auto', title: _('Auto'), icon_name: 'weather-clear-night-symbolic'}, daemon, tell, start);
        this.settings = new DaemonSettings(entries => this._change(entries), tell, () => this.show());
        this._rows = new Map();
        this._groups = [this._quietHours(), this._battery()];
        const label = _('Back to the Configuration');
        this._back = new Gtk.Button({css_classes: ['pill'], label, halign: Gtk.Align.CENTER});
        this._back.connect('clicked', () => daemon.ask('efficiency', 'ResetSettings', '(as)', [[]]).catch(tell));
        this._group().add(this._back);
    }

    show() {
        const {state} = this._daemon;
        const isRunning = this._showPresence(state);
        this.settings.told = state.efficiency.Settings ?? {};
        this._groups.forEach(group => (group.visible = isRunning));
        this._isShowing = true; // a row that is made to show something is not a person who wants it
        for (const [key, {row, show}] of this._rows) {
            const value = this.settings.shown(key);
            row.visible = value !== undefined; // an unknown number is not 0
            if (row.visible)
                show(value);
        }
        this._isShowing = false;
        this._back.set({visible: state.efficiency.ChangedSettings?.length > 0, sensitive: isRunning});
    }

    _quietHours() {
        const description = _('In these hours Auto takes Quiet: slow fans and a cool lap.');
        const group = this._group({title: _('Quiet Hours'), description});
        const on = new Adw.SwitchRow({title: _('Keep Quiet Hours')});
        this._add(group, 'quiet_hours_enabled', on, 'active');
        for (const [key, title] of [['quiet_hours_start', _('From')], ['quiet_hours_end', _('To')]]) {
            const {row, show} = timeRow(title, value => this._want(key, value));
            on.bind_property('active', row, 'sensitive', GObject.BindingFlags.SYNC_CREATE);
            group.add(row);
            this._rows.set(key, {row, show});
        }
        return group;
    }

    _battery() {
        const description = _('Charge in percent at which Auto switches modes.');
        const group = this._group({title: _('Battery'), description});
        for (const [key, title, subtitle] of [
            ['critical_battery_percent', _('Critical'), _('On battery below this, Auto takes Ultra Efficiency')],
            ['low_battery_percent', _('Low'), _('On battery below this, Auto takes Efficiency')],
            ['full_battery_percent', _('Full'), _('Plugged in above this, Auto takes Performance')],
        ]) {
            const adjustment = new Gtk.Adjustment({upper: 100, step_increment: 1, page_increment: 10});
            this._add(group, key, new Adw.SpinRow({title, subtitle, adjustment, numeric: true}), 'value');
        }
        return group;
    }

    _add(group, key, row, property) {
        row.connect(`notify::${property}`, () => this._want(key, row[property]));
        group.add(row);
        this._rows.set(key, {row, show: value => put(row, property, value)});
    }

    _want(key, value) {
        if (!this._isShowing)
            this.settings.want(key, value);
    }

    _change(entries) {
        const typed = ([key, value]) => [key, new GLib.Variant(TYPES[typeof value], value)];
        const settings = Object.fromEntries(Object.entries(entries).map(typed));
        return this._daemon.ask('efficiency', 'ChangeSettings', '(a{sv})', [settings]);
    }
}

/** Even a value that is there already would end what a person does: a switch on its way, a number half typed. */
function put(widget, property, value) {
    if (widget[property] !== value)
        widget[property] = value;
}

/** Shows a time of day, "22:00" as the daemon writes it, and lets another one be chosen: {row, show}. */
function timeRow(title, chosen) {
    const twoDigits = spin => String(spin.get_value_as_int()).padStart(2, '0');
    const spins = [[23, _('Hour')], [59, _('Minute')]].map(([last, name]) => {
        const spin = Gtk.SpinButton.new_with_range(0, last, 1);
        spin.set({numeric: true, orientation: Gtk.Orientation.VERTICAL, wrap: true, width_chars: 2});
        spin.update_property([Gtk.AccessibleProperty.LABEL], [`${title}: ${name}`]);
        spin.connect('output', () => {
            spin.text = twoDigits(spin);
            return true;
        });
        spin.connect('value-changed', () => chosen(spins.map(twoDigits).join(':')));
        return spin;
    });
    const box = new Gtk.Box({spacing: 6, margin_top: 6, margin_bottom: 6});
    box.set_direction(Gtk.TextDirection.LTR); // a time is written so everywhere
    const colon = new Gtk.Label({label: ':', accessible_role: Gtk.AccessibleRole.PRESENTATION});
    [spins[0], colon, spins[1]].forEach(each => box.append(each));
    const row = new Adw.ActionRow({title});
    row.add_suffix(box);
    return {row, show: value => value.split(':').forEach((number, i) => put(spins[i], 'value', Number(number)))};
}

/**
 * The daemon owns its settings; this holds what it last said, and what a person wants until it has answered. Pure.
 * At most one change is under way; what is wanted meanwhile goes with the next one, the latest value only.
 */
export class DaemonSettings {
    constructor(send, refused, changed) {
        this._send = send;
        this._refused = refused;
        this._changed = changed;
        this.told = {}; // what the daemon says that its settings are
        this._wanted = new Map();
        this._sending = null;
    }

    shown(key) {
        return this._wanted.has(key) ? this._wanted.get(key) : this.told[key];
    }

    want(key, value) {
        if (this.shown(key) === value)
            return Promise.resolve();
        this._wanted.set(key, value);
        this._sending ??= this._sendAll();
        return this._sending;
    }

    /** Nobody looks any more: answers that are still to come change nothing. */
    close() {
        this._wanted.clear();
        this._refused = this._changed = () => {};
    }

    async _sendAll() {
        while (this._wanted.size > 0) {
            const entries = Object.fromEntries(this._wanted);
            // eslint-disable-next-line no-await-in-loop -- one change at a time
            const refusal = await this._send(entries).then(() => null, error => error);
            for (const [key, value] of Object.entries(entries)) {
                if (this._wanted.get(key) === value)
                    this._wanted.delete(key);
            }
            if (refusal)
                this._refused(refusal);
            else
                this.told = {...this.told, ...entries}; // its signal comes later and may correct this
            this._changed();
        }
        this._sending = null;
    }
}
