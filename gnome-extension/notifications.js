// SPDX-License-Identifier: MIT
// Notifications and the on-screen display, in the way of each Shell from GNOME 45 on.

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as MessageTray from 'resource:///org/gnome/shell/ui/messageTray.js';

/** Since GNOME 46 notifications are made of properties, before of arguments. */
const isOfProperties = () => 'addNotification' in MessageTray.Source.prototype;

/** What the extension tells outside its own widgets; `destroy` takes all of it away. */
export class Notifications {
    /** `activated` opens what a click on a notification asks for. */
    constructor(icon, title, activated) {
        this._icon = icon;
        this._title = title;
        this._activated = activated;
        this._source = null;
        this._byKey = new Map();
        this._actions = new Map();
    }

    destroy() {
        this._source?.destroy();
        this._source = null;
    }

    /**
     * Shows {key, icon, title, body, isTransient, isQuiet}; `actions`: [label, what it does]. The same key: updated.
     */
    show({key, icon, title, body, isTransient = false, isQuiet = false}, actions = []) {
        this._actions.set(key, new Map(actions)); // an update keeps its buttons, which do what is meant last
        const shown = this._byKey.get(key);
        if (shown && isOfProperties()) {
            shown.set({title, body});
            return;
        }
        shown?.destroy();
        const notification = this._make(title, body, this._icon(icon));
        const urgency = isQuiet ? MessageTray.Urgency.LOW : MessageTray.Urgency.NORMAL;
        if (isOfProperties()) {
            notification.set({isTransient, urgency});
        } else {
            notification.setTransient(isTransient);
            notification.setUrgency(urgency);
        }
        actions.forEach(([label]) => notification.addAction(label, () => this._actions.get(key).get(label)?.()));
        notification.connect('activated', this._activated);
        notification.connect('destroy', () => this._byKey.delete(key));
        this._byKey.set(key, notification);
        if (isOfProperties())
            notification.source.addNotification(notification);
        else
            notification.source.showNotification(notification);
    }

    /** What was told is over. */
    withdraw(key) {
        this._byKey.get(key)?.destroy();
    }

    /** Shows an icon and a word in the middle of the screen for a moment, as the volume keys do. */
    flash(icon, label) {
        const display = Main.osdWindowManager;
        if (display.showAll) // GNOME 49 and later
            display.showAll(this._icon(icon), label);
        else
            display.show(-1, this._icon(icon), label);
    }

    _make(title, body, gicon) {
        const source = this._ensureSource();
        return isOfProperties() ? new MessageTray.Notification({source, title, body, gicon})
            : new MessageTray.Notification(source, title, body, {gicon});
    }

    _ensureSource() {
        if (this._source)
            return this._source;
        const source = isOfProperties()
            ? new MessageTray.Source({title: this._title, icon: this._icon('ai-mode-auto')})
            : new MessageTray.Source(this._title, 'emblem-system-symbolic');
        source.connect('destroy', () => (this._source = null));
        Main.messageTray.add(source);
        this._source = source;
        return source;
    }
}
