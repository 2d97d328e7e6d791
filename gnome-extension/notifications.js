// Notifications and the on-screen display, in the way of each Shell from GNOME 45 on.

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as MessageTray from 'resource:///org/gnome/shell/ui/messageTray.js';

/** What the extension tells outside its own widgets; `destroy` takes all of it away. */
export class Notifications {
    /**
     * @param {object} icons - the extension's icons
     * @param {string} title - what the extension is called
     */
    constructor(icons, title) {
        this._icons = icons;
        this._title = title;
        this._source = null;
        this._byKey = new Map();
    }

    /** Takes back everything that is still shown. */
    destroy() {
        this._source?.destroy();
        this._source = null;
    }

    /**
     * Shows a notification; one with the same key gives way to it.
     *
     * @param {object} news - {key, icon, title, body}
     */
    show({key, icon, title, body}) {
        this._byKey.get(key)?.destroy();
        const source = this._ensureSource();
        const gicon = this._icons.get(icon);
        // Since GNOME 46 these are made of properties, before of arguments.
        const isOfProperties = 'addNotification' in MessageTray.Source.prototype;
        const notification = isOfProperties
            ? new MessageTray.Notification({source, title, body, gicon})
            : new MessageTray.Notification(source, title, body, {gicon});
        this._byKey.set(key, notification);
        notification.connect('destroy', () => {
            if (this._byKey.get(key) === notification)
                this._byKey.delete(key);
        });
        if (isOfProperties)
            source.addNotification(notification);
        else
            source.showNotification(notification);
    }

    /**
     * Shows an icon and a word in the middle of the screen for a moment, as the volume keys do.
     *
     * @param {string} icon - the name of an icon
     * @param {string} label - the word
     */
    flash(icon, label) {
        const display = Main.osdWindowManager;
        if (display.showAll) // GNOME 49 and later
            display.showAll(this._icons.get(icon), label);
        else
            display.show(-1, this._icons.get(icon), label);
    }

    _ensureSource() {
        if (this._source)
            return this._source;
        const gicon = this._icons.get('ai-mode-auto');
        const source = 'addNotification' in MessageTray.Source.prototype
            ? new MessageTray.Source({title: this._title, icon: gicon})
            : new MessageTray.Source(this._title, 'emblem-system-symbolic');
        source.connect('destroy', () => {
            if (this._source === source)
                this._source = null;
        });
        Main.messageTray.add(source);
        this._source = source;
        return source;
    }
}
