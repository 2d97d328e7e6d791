// SPDX-License-Identifier: MIT
// The preferences window: three pages, and the connection to the daemon for as long as the window is open.
import {ExtensionPreferences} from 'resource:///org/gnome/Shell/Extensions/js/extensions/prefs.js';

import {isCancelled} from './shared/call.js';
import {AutoPage} from './prefs/autoPage.js';
import {Errors} from './prefs/errors.js';
import {GeneralPage} from './prefs/generalPage.js';
import {MachinePage} from './prefs/machinePage.js';
import {Daemon} from './shared/daemon.js';
import {Presence} from './shared/daemonState.js';

export default class OllamaProxyPreferences extends ExtensionPreferences {
    /** Called by GNOME with the empty window. */
    fillPreferencesWindow(window) {
        window.search_enabled = true;
        window.set_default_size(680, 760);

        const errors = new Errors(window);
        let pages = [];
        const show = () => {
            if (daemon.state.presence === Presence.RUNNING)
                errors.forgetStart();
            pages.forEach(each => each.show());
        };
        const daemon = new Daemon({withDetails: true, changed: show});
        daemon.watch(['routing', 'systemState', 'thermal', 'backends']);
        const start = () => daemon.start().catch(error => {
            if (!isCancelled(error)) // else nobody looks any more
                errors.tellStart(error);
        });
        const auto = new AutoPage(daemon, message => errors.tell(message), start);
        const machine = new MachinePage(daemon, message => errors.tell(message), start);
        const general = new GeneralPage(this.getSettings());
        [general, auto, machine].forEach(each => window.add(each.page));
        pages = [auto, machine];
        show();

        window.connect('close-request', () => {
            daemon.destroy();
            general.close();
            auto.close();
            return false;
        });
    }
}
