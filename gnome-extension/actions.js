// What the person can do; whatever fails is told, and the widgets change only when the daemon says so.

import Gio from 'gi://Gio';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';

import {isCancelled, messageOf} from './errors.js';
import {modeIcon, modeLabel, nextMode, otherSide} from './modes.js';
import {Presence} from './shared/daemonState.js';
import {dashboardUri} from './viewModel.js';

/** Clicks and keys on their way to the daemon. */
export class Actions {
    /**
     * @param {object} parts - what the actions act on
     * @param {object} parts.daemon - the daemon
     * @param {object} parts.notifications - where failures are told
     * @param {object} parts.settings - the extension's preferences
     * @param {object} parts.text - what translates
     * @param {Function} parts.openPreferences - opens the preferences' window
     */
    constructor({daemon, notifications, settings, text, openPreferences}) {
        this._daemon = daemon;
        this._notifications = notifications;
        this._settings = settings;
        this._text = text;
        this._openPreferences = openPreferences;
    }

    /**
     * A click on the tile.
     *
     * @param {Function} openMenu - opens the tile's menu
     */
    click(openMenu) {
        if (this._wakes())
            return;
        switch (this._settings.get_string('click-action')) {
        case 'open-menu':
            openMenu();
            break;
        case 'cycle':
            this.choose(nextMode(this._efficiency, this._text));
            break;
        default:
            this.choose(otherSide(this._efficiency, this._settings.get_string('manual-mode'), this._text));
        }
    }

    /** The keyboard shortcut: the next mode, shown on the screen as there may be no menu open. */
    async cycle() {
        if (this._wakes())
            return;
        const token = nextMode(this._efficiency, this._text);
        if (await this.choose(token))
            this._notifications.flash(modeIcon(token), modeLabel(this._efficiency, token, this._text));
    }

    /**
     * Chooses a mode.
     *
     * @param {string} token - the mode's token
     * @returns {Promise<boolean>} whether the daemon took it
     */
    choose(token) {
        const {_} = this._text;
        return this._try(() => this._daemon.setMode(token), _('The mode could not be changed'),
            _('“systemctl --user status ollama-proxyd” shows how the service is.'));
    }

    /** Starts the daemon, or asks one again that did not answer. */
    start() {
        const {_} = this._text;
        if (this._daemon.state.presence === Presence.SILENT) {
            this._daemon.retry();
            return;
        }
        this._try(() => this._daemon.start(), _('AI Efficiency could not be started'),
            _('“systemctl --user status ollama-proxyd” shows why.'));
    }

    /** Opens the daemon's web page. */
    openDashboard() {
        const uri = dashboardUri(this._daemon.state);
        if (!uri)
            return;
        this._leave();
        this._try(() => Gio.AppInfo.launch_default_for_uri(uri, global.create_app_launch_context(0, -1)),
            this._text._('The dashboard could not be opened'), uri);
    }

    /** Opens the preferences. */
    openSettings() {
        this._leave();
        this._try(() => this._openPreferences(), this._text._('The settings could not be opened'), '');
    }

    get _efficiency() {
        return this._daemon.state.efficiency;
    }

    /** Whether there is no daemon to ask, so that the person means to start it. */
    _wakes() {
        if (this._daemon.state.presence === Presence.RUNNING)
            return false;
        this.start();
        return true;
    }

    _leave() {
        Main.overview.hide();
        Main.panel.closeQuickSettings();
    }

    async _try(act, title, advice) {
        try {
            await act();
            return true;
        } catch (error) {
            if (!isCancelled(error)) {
                const body = [messageOf(error) || this._text._('Not answering'), advice].filter(Boolean).join('\n');
                this._notifications.show({key: title, icon: 'ai-state-down', title, body});
            }
            return false;
        }
    }
}
