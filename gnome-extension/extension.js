// SPDX-License-Identifier: MIT
// The efficiency modes of ollama-proxyd in Quick Settings: the tile, the icon in the top bar, and what wires them to the daemon.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import GObject from 'gi://GObject';
import Meta from 'gi://Meta';
import Shell from 'gi://Shell';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import {Extension} from 'resource:///org/gnome/shell/extensions/extension.js';
import {formatTime} from 'resource:///org/gnome/shell/misc/dateUtils.js';
import {QuickMenuToggle, SystemIndicator} from 'resource:///org/gnome/shell/ui/quickSettings.js';

import {Actions, FAILED} from './actions.js';
import {words, _} from './format.js';
import {ModeMenu} from './menu.js';
import {AUTO} from './modes.js';
import {News} from './news.js';
import {Notifications} from './notifications.js';
import {Daemon} from './shared/daemon.js';
import {Presence} from './shared/daemonState.js';
import {menuView, panelView, tileView, title} from './viewModel.js';

const SHORTCUT = 'cycle-mode-shortcut';
const MICROSECONDS_PER_SECOND = 1e6;

/** Words that the desktop knows: what a program is called, else the name of its file, and a time as its clock has it. */
const DESKTOP = {
    nameOf: id => Shell.AppSystem.get_default().lookup_app(`${id}.desktop`)?.get_name() ?? id.split(' ')[0].split('/').at(-1),
    timeOf: unixSeconds => formatTime(new Date(1000 * unixSeconds), {timeOnly: true}),
};

const ModeToggle = GObject.registerClass(
class OllamaProxyModeToggle extends QuickMenuToggle {
    /** `parts`: {actions, icon, state, looked}; `looked` hears whether the menu is open. */
    constructor(parts) {
        super({title: title(), toggleMode: false});
        this._parts = parts;
        this.add_style_class_name('ollama-proxy-tile');
        this._contents = new ModeMenu(this.menu, parts);
        const name = _('Open the menu of AI Efficiency');
        if ('menuButtonAccessibleName' in this) // GNOME 49 and later
            this.menuButtonAccessibleName = name;
        else
            this._menuButton.accessible_name = name;
        this.connect('clicked', () => parts.actions.click(() => this.menu.open()));
        this.menu.connectObject('open-state-changed', (_menu, isOpen) => {
            parts.looked(isOpen);
            this.sync();
        }, this);
        // Up to date once Quick Settings are on the screen, so that the menu opens to its right height.
        this.connect('notify::mapped', () => this.mapped && this._syncMenu());
    }

    destroy() {
        this._contents.destroy();
        super.destroy();
    }

    /** Shows what the daemon told last; the menu only while somebody looks at it. */
    sync() {
        const {subtitle, icon, checked} = tileView(this._parts.state());
        this.set({subtitle, checked, gicon: this._parts.icon(icon)});
        if (this.menu.isOpen)
            this._syncMenu();
    }

    _syncMenu() {
        this._contents.sync(menuView(this._parts.state(), DESKTOP));
        if (this.menu.isOpen)
            this._contents.fit();
    }
});

const PanelIcon = GObject.registerClass(
class OllamaProxyPanelIcon extends SystemIndicator {
    constructor() {
        super();
        this.icon = this._addIndicator();
    }
});

export default class OllamaProxyExtension extends Extension {
    enable() {
        this._settings = this.getSettings();
        this._isMenuOpen = false;
        this._news = new News();
        this._icon = name => Gio.icon_new_for_string(`${this.path}/icons/${name}-symbolic.svg`);
        this._notifications = new Notifications(this._icon, title(), () => this._showMenu());
        this._daemon = new Daemon({
            changed: before => this._changed(before),
            throttling: event => this._tell(this._news.throttling(event, this._nowS())),
        });
        this._actions = new Actions({
            daemon: this._daemon,
            notifications: this._notifications,
            settings: this._settings,
            openPreferences: () => this.openPreferences(),
        });
        this._toggle = new ModeToggle({
            actions: this._actions,
            icon: this._icon,
            state: () => this._daemon.state,
            looked: isOpen => this._look(isOpen),
        });
        this._indicator = new PanelIcon();
        this._indicator.quickSettingsItems.push(this._toggle);
        Main.panel.statusArea.quickSettings.addExternalIndicator(this._indicator);
        this._settings.connectObject('changed::indicator', () => {
            this._watch();
            this._sync();
        }, this);
        Main.wm.addKeybinding(SHORTCUT, this._settings, Meta.KeyBindingFlags.IGNORE_AUTOREPEAT,
            Shell.ActionMode.NORMAL | Shell.ActionMode.OVERVIEW, () => this._actions.cycle());
        this._watch();
        this._sync();
    }

    disable() {
        Main.wm.removeKeybinding(SHORTCUT);
        this._settings.disconnectObject(this);
        [this._daemon, this._toggle, this._indicator, this._notifications].forEach(each => each.destroy());
        this._settings = this._news = this._daemon = this._actions = null;
        this._toggle = this._indicator = this._notifications = this._icon = null;
    }

    _changed(before) {
        const {state} = this._daemon;
        this._sync();
        this._remember(words(state.efficiency.CurrentMode));
        this._tell(this._news.compare(before, state, this._nowS()));
        const isBack = state.presence === Presence.RUNNING && before.presence !== Presence.RUNNING;
        if (isBack || state.efficiency.CurrentMode !== before.efficiency.CurrentMode)
            this._notifications.withdraw(FAILED);
    }

    _sync() {
        const {visible, icon, accessibleName} = panelView(this._daemon.state, this._settings.get_string('indicator'));
        this._indicator.icon.set({visible, gicon: this._icon(icon), accessible_name: accessibleName});
        this._toggle.sync();
    }

    _look(isOpen) {
        this._isMenuOpen = isOpen;
        if (isOpen)
            this._daemon.retry();
        this._watch();
    }

    _showMenu() {
        Main.panel.statusArea.quickSettings.menu.open();
        this._toggle.menu.open();
    }

    /** What moves all the time is followed only where it is shown. */
    _watch() {
        const showsWork = this._settings.get_string('indicator') === 'working';
        this._daemon.watch([...this._isMenuOpen ? ['routing', 'backends'] : [], ...this._isMenuOpen || showsWork ? ['fleet'] : []]);
    }

    /** The mode that a click on the tile takes when it switches Auto off. */
    _remember(token) {
        const value = new GLib.Variant('s', token);
        if (![AUTO, this._settings.get_string('manual-mode')].includes(token) && this._settings.settings_schema.get_key('manual-mode').range_check(value))
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
