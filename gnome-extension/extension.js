// SPDX-License-Identifier: MIT
// The efficiency modes of ollama-proxyd in Quick Settings: wires the parts together and takes them apart again.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Meta from 'gi://Meta';
import Shell from 'gi://Shell';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import {Extension} from 'resource:///org/gnome/shell/extensions/extension.js';

import {Actions, FAILED} from './actions.js';
import {words} from './format.js';
import {Indicator} from './indicator.js';
import {AUTO} from './modes.js';
import {News} from './news.js';
import {Notifications} from './notifications.js';
import {Daemon} from './shared/daemon.js';
import {Presence} from './shared/daemonState.js';
import {title} from './viewModel.js';

const SHORTCUT = 'cycle-mode-shortcut';
const MICROSECONDS_PER_SECOND = 1e6;

/** The extension's own symbolic icons by the name of their file, each loaded once. */
class Icons extends Map {
    constructor(folder) {
        super();
        this._folder = folder;
    }

    get(name) {
        if (!this.has(name))
            this.set(name, new Gio.FileIcon({file: this._folder.get_child(`${name}-symbolic.svg`)}));
        return super.get(name);
    }
}

export default class OllamaProxyExtension extends Extension {
    enable() {
        this._settings = this.getSettings();
        this._isMenuOpen = false;
        this._news = new News();
        const icons = new Icons(this.dir.get_child('icons'));
        this._notifications = new Notifications(icons, title(), () => this._showMenu());
        this._daemon = new Daemon({
            changed: before => this._sync(before),
            throttling: event => this._tell(this._news.throttling(event, this._nowS())),
        });
        this._actions = new Actions({
            daemon: this._daemon,
            notifications: this._notifications,
            settings: this._settings,
            openPreferences: () => this.openPreferences(),
        });
        this._indicator = new Indicator({
            actions: this._actions,
            icons,
            settings: this._settings,
            state: () => this._daemon.state,
            looked: isOpen => this._look(isOpen),
        });
        Main.panel.statusArea.quickSettings.addExternalIndicator(this._indicator);
        this._settings.connectObject('changed::indicator', () => {
            this._watch();
            this._indicator.sync();
        }, this);
        Main.wm.addKeybinding(SHORTCUT, this._settings, Meta.KeyBindingFlags.IGNORE_AUTOREPEAT,
            Shell.ActionMode.NORMAL | Shell.ActionMode.OVERVIEW, () => this._actions.cycle());
        this._watch();
    }

    disable() {
        Main.wm.removeKeybinding(SHORTCUT);
        this._settings.disconnectObject(this);
        this._daemon.destroy();
        this._indicator.destroy();
        this._notifications.destroy();
        this._settings = null;
        this._daemon = null;
        this._indicator = null;
        this._notifications = null;
        this._actions = null;
        this._news = null;
    }

    _sync(before) {
        const {state} = this._daemon;
        this._indicator.sync();
        this._remember(words(state.efficiency.CurrentMode));
        this._tell(this._news.compare(before, state, this._nowS()));
        const isBack = state.presence === Presence.RUNNING && before.presence !== Presence.RUNNING;
        if (isBack || state.efficiency.CurrentMode !== before.efficiency.CurrentMode)
            this._notifications.withdraw(FAILED);
    }

    _look(isOpen) {
        this._isMenuOpen = isOpen;
        if (isOpen)
            this._daemon.retry();
        this._watch();
    }

    _showMenu() {
        Main.panel.statusArea.quickSettings.menu.open();
        this._indicator.openMenu();
    }

    _watch() {
        const showsWork = this._settings.get_string('indicator') === 'working';
        this._daemon.watch([...this._isMenuOpen ? ['routing', 'backends'] : [], ...this._isMenuOpen || showsWork ? ['fleet'] : []]);
    }

    _remember(token) {
        if (!token || token === AUTO || token === this._settings.get_string('manual-mode'))
            return;
        const value = new GLib.Variant('s', token);
        if (this._settings.settings_schema.get_key('manual-mode').range_check(value))
            this._settings.set_value('manual-mode', value);
    }

    _tell(news) {
        for (const each of news) {
            if (!each.title)
                this._notifications.withdraw(each.key);
            else if (this._settings.get_boolean(`notify-${each.topic}`))
                this._notifications.show(each, each.topic === 'backends' ? this._actions.ofTrouble() : []);
        }
    }

    _nowS() {
        return GLib.get_monotonic_time() / MICROSECONDS_PER_SECOND;
    }
}
