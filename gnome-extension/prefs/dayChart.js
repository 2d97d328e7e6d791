// SPDX-License-Identifier: MIT
// The last 24 hours: a bar for each, of what each backend's answers cost, and below them a line of the modes in force.
import Adw from 'gi://Adw';
import Gdk from 'gi://Gdk';
import GLib from 'gi://GLib';
import Gtk from 'gi://Gtk';

import {_} from '../format.js';

/** Of libadwaita's palette; further backends look like the last. */
const COLOURS = ['#3584e4', '#2ec27e', '#ff7800', '#9141ac', '#9a9996'];
const MODES = {Performance: '#e66100', Balanced: '#9a9996', Efficiency: '#2ec27e', Quiet: '#9141ac', UltraEfficiency: '#1c71d8'};
const STRIP = 6;
const GAP = 6;

const colourOf = ({look, mode}) => MODES[mode] ?? COLOURS[Math.min(look ?? 0, COLOURS.length - 1)];

export class DayChart {
    constructor() {
        this._area = new Gtk.DrawingArea({content_height: 120, hexpand: true, accessible_role: Gtk.AccessibleRole.IMG});
        this._area.set_draw_func((_area, context, width, height) => this._draw(context, width, height));
        this._axis = new Gtk.Box({homogeneous: true});
        this._axis.set_direction(Gtk.TextDirection.LTR); // as the bars
        this._legend = new Gtk.Label({wrap: true, xalign: 0, use_markup: true});
        const box = new Gtk.Box({orientation: Gtk.Orientation.VERTICAL, spacing: 6});
        box.set({margin_top: 12, margin_bottom: 12, margin_start: 12, margin_end: 12});
        [this._area, this._axis, this._legend].forEach(each => box.append(each));
        const row = new Adw.PreferencesRow({child: box, activatable: false, focusable: false});
        this.group = new Adw.PreferencesGroup({title: _('Last 24 Hours'), visible: false});
        this.group.add(row);
    }

    /** Shows what facts.day made. */
    show(day) {
        this._day = day;
        this.group.description = day.says;
        this._area.update_property([Gtk.AccessibleProperty.LABEL], [day.says]);
        while (this._axis.get_first_child())
            this._axis.remove(this._axis.get_first_child());
        for (const label of day.axis)
            this._axis.append(new Gtk.Label({css_classes: ['caption', 'dim-label'], label, xalign: 0}));
        const sign = each => `<span foreground="${colourOf(each)}">${each.mode ? '▬' : '■'}</span>\u00a0${GLib.markup_escape_text(each.text, -1)}`;
        this._legend.label = day.legend.map(sign).join('   ');
        this._legend.visible = day.legend.length > 0;
        this._area.queue_draw();
    }

    _draw(context, width, height) {
        const ground = height - STRIP - GAP;
        const fill = (colour, x, y, w, h) => {
            const rgba = new Gdk.RGBA();
            rgba.parse(colour);
            context.setSourceRGBA(rgba.red, rgba.green, rgba.blue, rgba.alpha);
            context.rectangle(x, y, w, h);
            context.fill();
        };
        fill('rgba(154,153,150,0.4)', 0, ground, width, 1);
        const {bars = [], stretches = []} = this._day ?? {};
        const step = width / bars.length;
        bars.forEach((parts, hour) => {
            let y = ground;
            for (const {look, share} of parts) {
                y -= share * ground;
                fill(colourOf({look}), (hour + 0.15) * step, y, 0.7 * step, share * ground);
            }
        });
        stretches.forEach(({mode, from, to}) => fill(colourOf({mode, look: 4}), from * width, height - STRIP, (to - from) * width, STRIP));
        context.$dispose();
    }
}
