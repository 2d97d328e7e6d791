// SPDX-License-Identifier: MIT
// The page "This Machine": what the daemon found, and of everything unknown the reason.
import Adw from 'gi://Adw';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Gtk from 'gi://Gtk';

import {quiet} from '../shared/call.js';
import {fill, _} from '../format.js';
import {Presence} from '../shared/daemonState.js';
import {dashboardUri} from '../viewModel.js';
import {DaemonNotice} from './daemonNotice.js';
import {DayChart} from './dayChart.js';
import {backendFacts, daemonFacts, dayFacts, deviceFacts, engineFacts, powerFacts} from './facts.js';

/** Rows for things that come and go: what is still there keeps its row, so that focus and opened rows stay. */
export class KeyedRows {
    constructor(make, add, remove) {
        this._make = make;
        this._add = add;
        this._remove = remove;
        this._rows = new Map();
    }

    show(items) {
        const old = this._rows;
        if ([...old.keys()].join('\n') !== items.map(({id}) => id).join('\n')) {
            this._rows = new Map(items.map(item => [item.id, old.get(item.id) ?? this._make()]));
            old.forEach(({row}) => this._remove(row));
            this._rows.forEach(({row}) => this._add(row));
        }
        items.forEach(item => this._rows.get(item.id).show(item));
    }
}

export class MachinePage {
    constructor(daemon, tell, start) {
        this._daemon = daemon;
        this._tell = tell;
        this._notice = new DaemonNotice(start);
        this._chart = new DayChart();
        this.page = new Adw.PreferencesPage({name: 'machine', title: _('This Machine'), icon_name: 'computer-symbolic'});
        this.page.add(this._notice.group);
        this._about = this._group(_('Daemon'), factRow);
        this.page.add(this._chart.group);
        this._backends = this._group(_('Backends'), () => backendRow((path, on) => this._enable(path, on)));
        this._engines = this._group(_('Engines'), factRow);
        this._devices = this._group(_('Devices'), thingRow);
        this._power = this._group(_('Battery and Power'), factRow);
        this._about.group.header_suffix = this._dashboardButton();
    }

    /** Shows what is known now. */
    show() {
        const {state} = this._daemon;
        const isRunning = state.presence === Presence.RUNNING;
        this._notice.show(state);
        for (const {group} of [this._about, this._chart, this._backends, this._engines, this._devices, this._power])
            group.visible = isRunning;
        if (!isRunning) {
            this._charted = null;
            return;
        }
        this._askHours(state);
        this._about.group.header_suffix.visible = dashboardUri(state) !== null;
        this._about.show(daemonFacts(state));
        this._power.show(powerFacts(state.systemState));
        const backends = Object.entries(state.backends).map(([path, each]) =>
            ({path, ...backendFacts({...each, details: state.details[each.Id] ?? {}})}));
        this._backends.show(backends, _('No backend is configured and none was found.'));
        const engines = engineFacts(state.fleet);
        this._engines.show(engines);
        this._engines.group.visible = engines.length > 0;
        this._devices.show((state.thermal.Devices ?? []).map(deviceFacts), _('This daemon tells of no device.'));
    }

    /** The chart is asked for anew when a request has ended or the mode has changed. */
    async _askHours({efficiency, routing}) {
        const key = [routing.TotalRequests, efficiency.CurrentMode, efficiency.EffectiveMode].join();
        if (this._charted === key)
            return;
        this._charted = key;
        await this._daemon.ask('routing', 'GetEnergyHours', '()', [], ([hours]) => {
            const {state} = this._daemon;
            this._chart.show(dayFacts(hours, {...state, nowS: Date.now() / 1000, timeOf}));
        }).catch(error => {
            this._charted = null; // the next news asks again
            quiet(error);
        });
    }

    _enable(path, isEnabled) {
        this._daemon.enable(path, isEnabled).catch(error => this._tell(error) && this.show());
    }

    _group(title, make) {
        const group = new Adw.PreferencesGroup({title});
        const rows = new KeyedRows(make, row => group.add(row), row => group.remove(row));
        this.page.add(group);
        const show = (things, none = '') => {
            group.description = things.length > 0 ? '' : none;
            rows.show(things);
        };
        return {group, show};
    }

    _dashboardButton() {
        const button = new Gtk.Button({css_classes: ['flat'], label: _('Open Dashboard'), valign: Gtk.Align.CENTER});
        button.connect('clicked', () =>
            new Gtk.UriLauncher({uri: dashboardUri(this._daemon.state)}).launch(button.get_root(), null, null));
        return button;
    }
}

function timeOf(unixSeconds) {
    const is24h = new Gio.Settings({schema_id: 'org.gnome.desktop.interface'}).get_string('clock-format') === '24h';
    return GLib.DateTime.new_from_unix_local(unixSeconds).format(is24h ? '%H:%M' : '%-I:%M %p');
}

function factRow() {
    const row = new Adw.ActionRow({css_classes: ['property'], use_markup: false, subtitle_lines: 0, subtitle_selectable: true});
    return {row, show: ({title, text: subtitle}) => row.set({title, subtitle})};
}

function thingRow() {
    const row = new Adw.ExpanderRow({use_markup: false, subtitle_lines: 0});
    const trouble = new Gtk.Image({
        css_classes: ['warning'], icon_name: 'dialog-warning-symbolic',
        accessible_role: Gtk.AccessibleRole.PRESENTATION, // the subtitle says it
    });
    row.add_suffix(trouble);
    const facts = new KeyedRows(factRow, each => row.add_row(each), each => row.remove(each));
    const show = ({title, subtitle, trouble: isInTrouble, facts: each}) => {
        row.set({title, subtitle});
        trouble.visible = isInTrouble;
        facts.show(each);
    };
    return {row, show};
}

/** Off, a backend gets no requests, so that its device can stay asleep. */
function backendRow(enable) {
    const {row, show} = thingRow();
    const on = new Gtk.Switch({valign: Gtk.Align.CENTER});
    row.add_suffix(on);
    let shown = null;
    on.connect('notify::active', () => shown && on.active !== shown.enabled && enable(shown.path, on.active));
    return {
        row,
        show: thing => {
            shown = thing;
            on.active = thing.enabled;
            on.update_property([Gtk.AccessibleProperty.LABEL], [fill(_('Use {backend}'), {backend: thing.title})]);
            show(thing);
        },
    };
}
