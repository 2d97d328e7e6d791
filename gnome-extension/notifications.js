// SPDX-License-Identifier: MIT
// Notifications and the on-screen display, in the way of each Shell from GNOME 45 on.

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as MessageTray from 'resource:///org/gnome/shell/ui/messageTray.js';

/** Since GNOME 46 notifications are made of properties, before of arguments. */
const isOfProperties = () => 'addNotification' in MessageTray.Source.prototype;

/** What the extension tells outside its own widgets; `destroy` takes all of it away. */
export class Notifications {
    /** `activated` opens what a click on a notification asks for. */
    constructor(iconOf, title, activated) {
        this._iconOf = iconOf;
        this._title = title;
        this._activated = activated;
        this._source = null;
        this._shown = new Map();
        this._actions = new Map();
    }

    destroy() {
        this._source?.destroy();
        this._source = null;
    }

    /** Shows {key, icon, title, body, isTransient, isQuiet}, the same key updated; `actions`: [label, what it does]. */
    show({key, icon, title, body, isTransient = false, isQuiet = false}, actions = []) {
        this._actions.set(key, new Map(actions)); // an update keeps its buttons, which do what is meant last
        const shown = this._shown.get(key);
        if (shown && isOfProperties()) {
            shown.set({title, body});
            return;
        }
        shown?.destroy();
        const urgency = isQuiet ? MessageTray.Urgency.LOW : MessageTray.Urgency.NORMAL;
        const notification = this._make({title, body, gicon: this._iconOf(icon), isTransient, urgency});
        actions.forEach(([label]) => notification.addAction(label, () => this._actions.get(key).get(label)?.()));
        notification.connect('activated', this._activated);
        notification.connect('destroy', () => this._shown.delete(key));
        this._shown.set(key, notification);
        this._source[isOfProperties() ? 'addNotification' : 'showNotification'](notification);
    }

    withdraw(key) {
        this._shown.get(key)?.destroy();
    }

    /** Shows an icon and a word in the middle of the screen for a moment, as the volume keys do. */
    flash(icon, label) {
        const {osdWindowManager: display} = Main;
        const [show, ...where] = 'showAll' in display ? ['showAll'] : ['show', -1]; // since GNOME 49, or not
        display[show](...where, this._iconOf(icon), label);
    }

    _make({title, body, gicon, isTransient, urgency}) {
        if (!this._source) {
            this._source = isOfProperties()
                ? new MessageTray.Source({title: this._title, icon: this._iconOf('ai-mode-auto')})
                : new MessageTray.Source(this._title, 'emblem-system-symbolic');
            this._source.connect('destroy', () => (this._source = null));
            Main.messageTray.add(this._source);
        }
        if (isOfProperties())
            return new MessageTray.Notification({source: this._source, title, body, gicon, isTransient, urgency});
        const notification = new MessageTray.Notification(this._source, title, body, {gicon});
        notification.setTransient(isTransient);
        notification.setUrgency(urgency);
        return notification;
    }
}
