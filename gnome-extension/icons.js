// The extension's own symbolic icons, each loaded once.

import Gio from 'gi://Gio';

/** Icons by the name of their file. */
export class Icons {
    /** @param {Gio.File} folder - the extension's folder */
    constructor(folder) {
        this._folder = folder.get_child('icons');
        this._icons = new Map();
    }

    /**
     * An icon that takes the colour of the text beside it.
     *
     * @param {string} name - the file's name without `-symbolic.svg`
     * @returns {Gio.Icon}
     */
    get(name) {
        if (!this._icons.has(name))
            this._icons.set(name, new Gio.FileIcon({file: this._folder.get_child(`${name}-symbolic.svg`)}));
        return this._icons.get(name);
    }
}
