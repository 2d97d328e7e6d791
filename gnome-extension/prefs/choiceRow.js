// A row that offers a few values by their names.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

/**
 * @param {object} properties of the row
 * @param {Array<[string, string]>} choices each value with its name
 * @param {(value: string) => void} chosen told when a person takes another
 * @returns {{row: object, show: (value: string) => void}} the row, and how it is made to show a value
 */
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
