// The backends' rows in the menu, kept in step with the view.

import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

import {BackendRow, NoteRow} from './rows.js';

/** A row for each backend, and a line about those that have none. */
export class BackendsSection extends PopupMenu.PopupMenuSection {
    /**
     * @param {object} icons - the extension's icons
     * @param {Function} added - told of each new row
     */
    constructor(icons, added) {
        super();
        this._icons = icons;
        this._added = added;
        this._rows = [];
        this._note = new NoteRow();
        this.addMenuItem(this._note);
    }

    /**
     * Shows these backends; rows stay where they are, so that the keyboard's focus does, too.
     *
     * @param {object[]} backends - rows of the view
     * @param {string} more - what is said below them, or nothing
     */
    sync(backends, more) {
        while (this._rows.length > backends.length)
            this._rows.pop().destroy();
        while (this._rows.length < backends.length)
            this._rows.push(this._add(this._rows.length));
        backends.forEach((backend, i) => this._rows[i].present(backend));
        this._note.present(more);
    }

    _add(position) {
        const row = new BackendRow(this._icons);
        this.addMenuItem(row, position);
        this._added(row);
        return row;
    }
}
