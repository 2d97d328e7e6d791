// SPDX-License-Identifier: MIT
// The preferences window: three pages, and the connection to the daemon for as long as the window is open.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {ExtensionPreferences} from 'resource:///org/gnome/Shell/Extensions/js/extensions/prefs.js';

import {fill, _} from './format.js';
import {AutoPage} from './prefs/autoPage.js';
import {GeneralPage} from './prefs/generalPage.js';
import {MachinePage} from './prefs/machinePage.js';
import {isCancelled, messageOf} from './shared/call.js';
import {Daemon} from './shared/daemon.js';
import {Presence} from './shared/daemonState.js';

export default class OllamaProxyPreferences extends ExtensionPreferences {
    /** Called by GNOME with the empty window. */
    fillPreferencesWindow(window) {
        window.search_enabled = true;
        window.set_default_size(680, 760);

        let toast = null;
        let startToast = null; // that it could not be started, until it runs
        const tell = (error, template = '{reason}') => {
            if (isCancelled(error)) // nobody looks any more
                return null;
            toast?.dismiss();
            toast = toastOf(fill(template, {reason: messageOf(error) || _('It has not answered yet')}));
            window.add_toast(toast);
            return toast;
        };
        const daemon = new Daemon({withDetails: true, changed: () => show()});
        const start = () => daemon.start()
            .catch(error => (startToast = tell(error, _('The daemon could not be started: {reason}'))));
        const general = new GeneralPage(this.getSettings());
        const auto = new AutoPage(daemon, tell, start);
        const machine = new MachinePage(daemon, tell, start);
        [general, auto, machine].forEach(each => window.add(each.page));
        const show = () => {
            if (daemon.state.presence === Presence.RUNNING)
                startToast?.dismiss();
            auto.show();
            machine.show();
        };
        daemon.watch(['routing', 'fleet', 'systemState', 'thermal', 'backends']);
        show();

        window.connect('close-request', () => {
            daemon.destroy();
            general.close();
            auto.close();
            return false;
        });
    }
}

/** A toast cuts off its own title; this one takes as many lines as it needs, and stays until it is read. */
function toastOf(message) {
    return new Adw.Toast({custom_title: new Gtk.Label({label: message, wrap: true, xalign: 0}), timeout: 0});
}
