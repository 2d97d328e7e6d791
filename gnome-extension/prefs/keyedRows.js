// SPDX-License-Identifier: MIT
// Rows for things that come and go: what is still there keeps its row, so that focus and opened rows stay.

/** The rows of one container. */
export class KeyedRows {
    constructor(make, add, remove) {
        this._make = make;
        this._add = add;
        this._remove = remove;
        this._rows = new Map();
    }

    show(items) {
        const before = [...this._rows.keys()].join('\n');
        const after = items.map(({id}) => id).join('\n');
        if (before !== after)
            this._arrange(items);
        items.forEach(item => this._rows.get(item.id).show(item));
    }

    _arrange(items) {
        const old = this._rows;
        this._rows = new Map(items.map(item => [item.id, old.get(item.id) ?? this._make(item)]));
        old.forEach(({row}) => this._remove(row));
        this._rows.forEach(({row}) => this._add(row));
    }
}
