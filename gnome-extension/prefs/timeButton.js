// SPDX-License-Identifier: MIT
// A button that shows a time of day, and lets another one be chosen in a popover.
import Gtk from 'gi://Gtk';
import {_} from '../format.js';

/** The button; a value is "22:00", as the daemon writes it. */
export class TimeButton {
    constructor(title, chosen) {
        this._title = title;
        this._shown = '';
        this._hours = spin(23, _('Hour'));
        this._minutes = spin(59, _('Minute'));
        // A time is written from left to right everywhere.
        const box = new Gtk.Box({spacing: 6, halign: Gtk.Align.CENTER});
        box.set_direction(Gtk.TextDirection.LTR);
        box.append(this._hours);
        box.append(new Gtk.Label({label: ':', accessible_role: Gtk.AccessibleRole.PRESENTATION}));
        box.append(this._minutes);
        const popover = new Gtk.Popover({child: box});
        popover.connect('closed', () => {
            const value = [this._hours, this._minutes].map(each => two(each.get_value_as_int())).join(':');
            if (value !== this._shown)
                chosen(value);
        });
        this.button = new Gtk.MenuButton({popover, valign: Gtk.Align.CENTER});
        this.button.add_css_class('numeric');
    }

    show(value) {
        if (value === this._shown)
            return;
        this._shown = value;
        this.button.label = value;
        this.button.update_property([Gtk.AccessibleProperty.LABEL], [`${this._title}: ${value}`]);
        if (this.button.active)
            return; // a person is choosing
        const [hours, minutes] = value.split(':').map(Number);
        this._hours.value = hours;
        this._minutes.value = minutes;
    }
}

function spin(last, name) {
    const button = Gtk.SpinButton.new_with_range(0, last, 1);
    button.set({orientation: Gtk.Orientation.VERTICAL, numeric: true, wrap: true, width_chars: 2});
    button.update_property([Gtk.AccessibleProperty.LABEL], [name]);
    button.connect('output', () => {
        button.text = two(button.get_value_as_int());
        return true;
    });
    return button;
}

function two(number) {
    return String(number).padStart(2, '0');
}
