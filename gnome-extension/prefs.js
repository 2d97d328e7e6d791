// The preferences window: three pages, and the connection to the daemon for as long as the window is open.
import {ExtensionPreferences, gettext as _, ngettext} from 'resource:///org/gnome/Shell/Extensions/js/extensions/prefs.js';

import {AutoPage} from './prefs/autoPage.js';
import {Daemon} from './prefs/daemon.js';
import {Errors} from './prefs/errors.js';
import {GeneralPage} from './prefs/generalPage.js';
import {MachinePage} from './prefs/machinePage.js';

export default class OllamaProxyPreferences extends ExtensionPreferences {
    /**
     * Called by GNOME with the empty window.
     *
     * @param {object} window the Adw.PreferencesWindow
     */
    fillPreferencesWindow(window) {
        window.search_enabled = true;
        window.set_default_size(680, 760);

        const errors = new Errors(window);
        let pages = [];
        const show = () => {
            if (daemon.state === 'there')
                errors.forgetStart();
            pages.forEach(each => each.show());
        };
        const daemon = new Daemon(show);
        const start = () => daemon.start().catch(error => errors.tellStart(error));
        const auto = new AutoPage(daemon, message => errors.tell(message), start);
        const machine = new MachinePage(daemon, {_, ngettext}, start);
        const general = new GeneralPage(this.getSettings());
        [general, auto, machine].forEach(each => window.add(each.page));
        pages = [auto, machine];
        show();

        window.connect('close-request', () => {
            daemon.close();
            general.close();
            auto.close();
            return false;
        });
    }
}
