// SPDX-License-Identifier: MIT
// What went wrong, told to the person at the foot of the window.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {messageOf} from '../shared/call.js';
import {fill} from '../format.js';
import {_} from '../text.js';

/** The errors of one window; each stays until it is read, or until another takes its place. */
export class Errors {
    constructor(window) {
        this._window = window;
        this._toast = null;
        this._isOfStart = false;
    }

    tell(message) {
        this._toast?.dismiss();
        // A toast cuts off its own title; this one may take as many lines as it needs.
        const title = new Gtk.Label({label: message, wrap: true, xalign: 0});
        const toast = new Adw.Toast({custom_title: title, timeout: 0});
        toast.connect('dismissed', () => {
            if (this._toast === toast)
                this._toast = null;
        });
        this._toast = toast;
        this._isOfStart = false;
        this._window.add_toast(toast);
    }

    tellStart(error) {
        this.tell(fill(_('The daemon could not be started: {reason}'), {reason: messageOf(error)}));
        this._isOfStart = true;
    }

    /** The daemon runs: that it could not be started is over. */
    forgetStart() {
        if (this._isOfStart)
            this._toast?.dismiss();
    }
}
