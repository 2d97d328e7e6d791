// SPDX-License-Identifier: MIT
// The preferences window: three pages, and the connection to the daemon for as long as the window is open.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {ExtensionPreferences} from 'resource:///org/gnome/Shell/Extensions/js/extensions/prefs.js';

import {fill, _} from './format.js';
import {AutoPage} from './prefs/autoPage.js';
import {GeneralPage} from './prefs/generalPage.js';
import {MachinePage} from './prefs/machinePage.js';
import {Daemon, isCancelled, messageOf, Presence} from './shared/daemon.js';
import {HOW_TO_INSTALL} from './viewModel.js';

export default class OllamaProxyPreferences extends ExtensionPreferences {
    fillPreferencesWindow(window) {
        window.search_enabled = true;
        window.set_default_size(680, 760);
        let toast = null;
        const tell = (error, failure = '') => {
            if (isCancelled(error)) // nobody looks any more
                return null;
            toast?.dismiss();
            // A toast cuts off its own title; this one takes as many lines as it needs, and stays until it is read.
            const reason = messageOf(error) || _('It has not answered yet');
            const label = failure ? fill(_('{state}: {reason}'), {state: failure, reason}) : reason;
            toast = new Adw.Toast({custom_title: new Gtk.Label({label, wrap: true, xalign: 0}), timeout: 0});
            window.add_toast(toast);
            return toast;
        };
        const daemon = new Daemon(before => show(before));
        const install = new Gtk.UriLauncher({uri: HOW_TO_INSTALL});
        const start = () => daemon.state.presence === Presence.MISSING ? install.launch(window, null, null)
            : daemon.start().catch(error => tell(error, _('AI Efficiency could not be started')));
        const general = new GeneralPage(this.getSettings());
        const [auto, machine] = [AutoPage, MachinePage].map(Page => new Page(daemon, tell, start));
        [general, auto, machine].forEach(each => window.add(each.page));
        const show = before => {
            if (before.presence !== daemon.state.presence)
                toast?.dismiss();
            [auto, machine].forEach(each => each.show());
        };
        daemon.watch(['routing', 'fleet', 'systemState', 'thermal', 'backends']);
        show(daemon.state);
        window.connect('close-request', () => {
            daemon.destroy();
            general.close();
            auto.settings.close();
        });
    }
}
