// SPDX-License-Identifier: MIT
// The page "This Machine": what the daemon found, and of everything unknown the reason.
import Adw from 'gi://Adw';
import Gdk from 'gi://Gdk';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Gtk from 'gi://Gtk';

import {fill, _} from '../format.js';
import {quiet} from '../shared/daemon.js';
import {dashboardUri} from '../viewModel.js';
import {DaemonPage} from './daemonPage.js';
import {backendFacts, daemonFacts, dayFacts, deviceFacts, engineFacts, powerFacts} from './facts.js';

/** Of libadwaita's palette; further backends look like the last. */
const COLOURS = ['#3584e4', '#2ec27e', '#ff7800', '#9141ac', '#9a9996'];
const MODES = {
    Performance: '#e66100', Balanced: '#9a9996', Efficiency: '#2ec27e', Quiet: '#9141ac', UltraEfficiency: '#1c71d8',
};
const STRIP = 6;
const GAP = 6;

const colourOf = ({look, mode}) => MODES[mode] ?? COLOURS[Math.min(look ?? 0, COLOURS.length - 1)];

/** Shows rows of things that come and go: what is still there keeps its row, so that focus and opened rows stay. */
export function keyedRows(make, add, remove) {
    let rows = new Map();
    return items => {
        const old = rows;
        if ([...old.keys()].join('\n') !== items.map(({id}) => id).join('\n')) {
            rows = new Map(items.map(item => [item.id, old.get(item.id) ?? make()]));
            old.forEach(({row}) => remove(row));
            rows.forEach(({row}) => add(row));
        }
        items.forEach(item => rows.get(item.id).show(item));
    };
}

export class MachinePage extends DaemonPage {
    constructor(daemon, tell, start) {
        super({name: 'machine', title: _('This Machine'), icon_name: 'computer-symbolic'}, daemon, tell, start);
        const dashboard = new Gtk.Button({css_classes: ['flat'], label: _('Open Dashboard'), valign: Gtk.Align.CENTER});
        dashboard.connect('clicked', () =>
            new Gtk.UriLauncher({uri: dashboardUri(daemon.state)}).launch(dashboard.get_root(), null, null));
        this._about = this._list({title: _('Daemon'), header_suffix: dashboard}, factRow);
        this._chart = dayChart();
        this.page.add(this._chart.group);
        const enable = (path, isOn) => daemon.enable(path, isOn).catch(error => tell(error) && this.show());
        this._backends = this._list({title: _('Backends')}, () => thingRow(enable));
        this._engines = this._list({title: _('Engines')}, factRow);
        this._devices = this._list({title: _('Devices')}, () => thingRow());
        this._power = this._list({title: _('Battery and Power')}, factRow);
    }

    show() {
        const {state} = this._daemon;
        const isRunning = this._showPresence(state);
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
        this._backends.show(Object.entries(state.backends).map(([path, each]) => ({path, ...backendFacts(each)})),
            _('No backend is configured and none was found.'));
        const engines = engineFacts(state.fleet);
        this._engines.show(engines);
        this._engines.group.visible = engines.length > 0;
        this._devices.show((state.thermal.Devices ?? []).map(deviceFacts), _('This daemon tells of no device.'));
    }

    /** The chart is asked for anew when a request has ended or the mode has changed. */
    _askHours({efficiency, routing}) {
        const key = [routing.TotalRequests, efficiency.CurrentMode, efficiency.EffectiveMode].join();
        if (this._charted === key)
            return;
        this._charted = key;
        const hear = ([hours]) =>
            this._chart.show(dayFacts(hours, {...this._daemon.state, nowS: Date.now() / 1000, timeOf}));
        this._daemon.ask('routing', 'GetEnergyHours', '()', [], {hear}).catch(error => {
            this._charted = null; // the next news asks again
            quiet(error);
        });
    }

    _list(properties, make) {
        const group = this._group(properties);
        const showAll = keyedRows(make, row => group.add(row), row => group.remove(row));
        const show = (things, none = '') => {
            group.description = things.length > 0 ? '' : none;
            showAll(things);
        };
        return {group, show};
    }
}

/** The last 24 hours: a bar for each, of what each backend's answers cost, and below a line of the modes in force. */
function dayChart() {
    let day = {bars: [], stretches: []};
    const area = new Gtk.DrawingArea({content_height: 120, hexpand: true, accessible_role: Gtk.AccessibleRole.IMG});
    area.set_draw_func((_area, context, width, height) => draw(day, context, width, height));
    const axis = new Gtk.Box({homogeneous: true});
    axis.set_direction(Gtk.TextDirection.LTR); // as the bars
    const legend = new Gtk.Label({wrap: true, xalign: 0, use_markup: true});
    const box = new Gtk.Box({orientation: Gtk.Orientation.VERTICAL, spacing: 6});
    box.set({margin_top: 12, margin_bottom: 12, margin_start: 12, margin_end: 12});
    [area, axis, legend].forEach(each => box.append(each));
    const group = new Adw.PreferencesGroup({title: _('Last 24 Hours'), visible: false});
    group.add(new Adw.PreferencesRow({child: box, activatable: false, focusable: false}));
    const sign = each => `<span foreground="${colourOf(each)}">${each.mode ? '▬' : '■'}</span>\u00a0`;
    const named = each => `${sign(each)}${GLib.markup_escape_text(each.text, -1)}`;
    const show = told => {
        day = told;
        group.description = day.says;
        area.update_property([Gtk.AccessibleProperty.LABEL], [day.says]);
        while (axis.get_first_child())
            axis.remove(axis.get_first_child());
        const caption = label => new Gtk.Label({css_classes: ['caption', 'dim-label'], label, xalign: 0});
        day.axis.forEach(label => axis.append(caption(label)));
        legend.set({label: day.legend.map(named).join('   '), visible: day.legend.length > 0});
        area.queue_draw();
    };
    return {group, show};
}

function draw({bars, stretches}, context, width, height) {
    const ground = height - STRIP - GAP;
    const paint = (colour, ...place) => {
        const rgba = new Gdk.RGBA();
        rgba.parse(colour);
        context.setSourceRGBA(rgba.red, rgba.green, rgba.blue, rgba.alpha);
        context.rectangle(...place);
        context.fill();
    };
    paint('rgba(154,153,150,0.4)', 0, ground, width, 1);
    const step = width / bars.length;
    bars.forEach((parts, hour) => {
        let y = ground;
        for (const {look, share} of parts) {
            y -= share * ground;
            paint(colourOf({look}), (hour + 0.15) * step, y, 0.7 * step, share * ground);
        }
    });
    for (const {mode, from, to} of stretches)
        paint(colourOf({mode, look: 4}), from * width, height - STRIP, (to - from) * width, STRIP);
    context.$dispose();
}

function timeOf(unixSeconds) {
    const is24h = new Gio.Settings({schema_id: 'org.gnome.desktop.interface'}).get_string('clock-format') === '24h';
    return GLib.DateTime.new_from_unix_local(unixSeconds).format(is24h ? '%H:%M' : '%-I:%M %p');
}

function factRow() {
    const row = new Adw.ActionRow({css_classes: ['property'], use_markup: false, subtitle_lines: 0});
    return {row, show: ({title, text: subtitle}) => row.set({title, subtitle, subtitle_selectable: true})};
}

/** A thing with its facts. With `enable` it has a switch: off, a backend gets no requests, and its device can sleep. */
function thingRow(enable) {
    const row = new Adw.ExpanderRow({use_markup: false, subtitle_lines: 0});
    const showFacts = keyedRows(factRow, each => row.add_row(each), each => row.remove(each));
    const sign = new Gtk.Image({
        css_classes: ['warning'], icon_name: 'dialog-warning-symbolic',
        accessible_role: Gtk.AccessibleRole.PRESENTATION, // the subtitle says it
    });
    const on = new Gtk.Switch({valign: Gtk.Align.CENTER, visible: Boolean(enable)});
    [sign, on].forEach(each => row.add_suffix(each));
    let shown = null;
    on.connect('notify::active', () => on.active !== shown.enabled && enable(shown.path, on.active));
    const show = thing => {
        shown = thing;
        row.set({title: thing.title, subtitle: thing.subtitle});
        sign.visible = thing.trouble;
        on.active = Boolean(thing.enabled);
        on.update_property([Gtk.AccessibleProperty.LABEL], [fill(_('Use {backend}'), {backend: thing.title})]);
        showFacts(thing.facts);
    };
    return {row, show};
}
