// SPDX-License-Identifier: MIT
// What the person can do; whatever fails is told, and the widgets change only when the daemon says so.

import Gio from 'gi://Gio';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';

import {_} from './format.js';
import {isCancelled, messageOf} from './shared/call.js';
import {modeIcon, modeOf, nextMode, otherSide} from './modes.js';
import {Presence} from './shared/daemonState.js';
import {dashboardUri, HOW_TO_INSTALL, OWN_ID} from './viewModel.js';

const HELD_S = 3600;

/** The notification of what the person wanted and did not get. */
export const FAILED = 'failed';

/** Clicks and keys on their way to the daemon. */
export class Actions {
    constructor({daemon, notifications, settings, openPreferences}) {
        this._daemon = daemon;
        this._notifications = notifications;
        this._settings = settings;
        this._openPreferences = openPreferences;
    }

    /** A click on the tile. */
    click(openMenu) {
        const isMissing = this._daemon.state.presence === Presence.MISSING;
        if (!isMissing && this._wakes())
            return;
        const action = isMissing ? 'open-menu' : this._settings.get_string('click-action');
        if (action === 'open-menu')
            openMenu();
        else if (action === 'cycle')
            this.choose(nextMode(this._efficiency));
        else
            this.choose(otherSide(this._efficiency, this._settings.get_string('manual-mode')));
    }

    /** The keyboard shortcut: the next mode, shown on the screen as there may be no menu open. */
    async cycle() {
        if (this._wakes())
            return;
        const token = nextMode(this._efficiency);
        if (await this.choose(token))
            this._notifications.flash(modeIcon(token), modeOf(this._efficiency, token).label);
    }

    /** Chooses a mode; answers whether the daemon took it. */
    choose(token) {
        return this._change(() => this._daemon.setMode(token));
    }

    /** Holds Performance for a while, or ends every hold, which choosing the chosen mode once more does. */
    hold(ends) {
        return ends ? this.choose(this._efficiency.CurrentMode)
            : this._change(() => this._daemon.hold('Performance', OWN_ID, HELD_S));
    }

    /** Holds Performance until the battery is full or the charger is unplugged. */
    holdUntilCharged() {
        return this._change(() => this._daemon.hold('Performance', OWN_ID));
    }

    /** Has idle backends let go of the models in their memory. */
    unload() {
        this._try(() => this._daemon.askBackends('UnloadModels'), _('The models could not be unloaded'));
    }

    /** Starts the daemon, asks one again that did not answer, or shows how to install it. */
    start() {
        const {presence} = this._daemon.state;
        if (presence === Presence.MISSING)
            this._open(HOW_TO_INSTALL);
        else if (presence === Presence.SILENT)
            this._daemon.retry();
        else
            this._try(() => this._daemon.start(), _('AI Efficiency could not be started'));
    }

    openDashboard() {
        const uri = dashboardUri(this._daemon.state);
        if (uri)
            this._open(uri);
    }

    openSettings() {
        this._leave();
        this._try(() => this._openPreferences(), _('The settings could not be opened'));
    }

    /** What a notification about a backend offers: [label, what it does]. */
    ofTrouble() {
        return [
            [_('Try Again'), () => this._try(() => this._daemon.askBackends('RefreshBackendStatus'), _('The backends could not be checked'))],
            [_('Open Dashboard'), () => this.openDashboard()],
        ];
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

    _change(act) {
        return this._try(act, _('The mode could not be changed'));
    }

    _open(uri) {
        this._leave();
        this._try(() => Gio.AppInfo.launch_default_for_uri(uri, global.create_app_launch_context(0, -1)),
            _('The page could not be opened'), uri);
    }

    _leave() {
        Main.overview.hide();
        Main.panel.closeQuickSettings();
    }

    async _try(act, title, where = '') {
        try {
            await act();
            return true;
        } catch (error) {
            if (!isCancelled(error)) {
                const why = messageOf(error) || _('It has not answered yet');
                const body = where ? `${where}: ${why}` : why;
                this._notifications.show({key: FAILED, icon: 'ai-state-down', title, body},
                    [[_('Try Again'), () => this._try(act, title, where)]]);
            }
            return false;
        }
    }
}
