// SPDX-License-Identifier: MIT
// A row that offers a few values by their names.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

export function choiceRow(properties, choices, chosen) {
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
