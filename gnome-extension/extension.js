// SPDX-License-Identifier: MIT
// The efficiency modes of ollama-proxyd in Quick Settings: the tile, the icon in the top bar, what can be done there.

import Clutter from 'gi://Clutter';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Meta from 'gi://Meta';
import Shell from 'gi://Shell';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import {Extension} from 'resource:///org/gnome/shell/extensions/extension.js';
import {formatTime} from 'resource:///org/gnome/shell/misc/dateUtils.js';
import {QuickMenuToggle, SystemIndicator} from 'resource:///org/gnome/shell/ui/quickSettings.js';

import {words, _} from './format.js';
import {ModeMenu} from './menu.js';
import {AUTO, modeIcon, modeOf, nextMode, otherSide} from './modes.js';
import {News} from './news.js';
import {Notifications} from './notifications.js';
import {BACKENDS_WITHIN_MS, Daemon, isCancelled, messageOf, Presence} from './shared/daemon.js';
import {chosen, dashboardUri, HOW_TO_INSTALL, menuView, panelView, tileView, title} from './viewModel.js';

const SHORTCUT = 'cycle-mode-shortcut';

const FAILED = 'failed'; // the notification of what the person wanted and did not get

/** What a program is called, else the name of its file, and a time as the desktop's clock has it. */
const appOf = id => Shell.AppSystem.get_default().lookup_app(`${id}.desktop`);
const nameOf = id => appOf(id)?.get_name() ?? id.split(' ')[0].split('/').at(-1);
const timeOf = unixSeconds => formatTime(new Date(1000 * unixSeconds), {timeOnly: true});

/** Whatever fails is told, and the widgets change only when the daemon says so. */
export default class OllamaProxyExtension extends Extension {
    enable() {
        this._settings = this.getSettings();
        this._news = new News();
        this._iconOf = name => Gio.icon_new_for_string(`${this.path}/icons/${name}-symbolic.svg`);
        this._notifications = new Notifications(this._iconOf, title(), () => {
            Main.panel.statusArea.quickSettings.menu.open();
            this._tile.menu.open();
        });
        this._daemon = new Daemon(before => this._changed(before));
        this._makeTile();
        this._indicator = new SystemIndicator();
        this._icon = this._indicator._addIndicator();
        this._indicator.quickSettingsItems.push(this._tile);
        Main.panel.statusArea.quickSettings.addExternalIndicator(this._indicator);
        this._settings.connectObject('changed::indicator', () => this._look(), this);
        Main.wm.addKeybinding(SHORTCUT, this._settings, Meta.KeyBindingFlags.IGNORE_AUTOREPEAT,
            Shell.ActionMode.NORMAL | Shell.ActionMode.OVERVIEW, () => this._cycle());
        this._look();
    }

    disable() {
        Main.wm.removeKeybinding(SHORTCUT);
        [this._settings, this._tile, this._tile.menu].forEach(each => each.disconnectObject(this));
        [this._daemon, this._menu, this._tile, this._indicator, this._notifications].forEach(each => each.destroy());
        this._settings = null;
        this._news = this._daemon = this._notifications = this._iconOf = null;
        this._menu = this._tile = this._indicator = this._icon = null;
    }

    _makeTile() {
        const tile = new QuickMenuToggle({title: title(), toggleMode: false});
        tile.add_style_class_name('ollama-proxy-tile');
        const property = 'menuButtonAccessibleName'; // since GNOME 49
        const [button, name] = property in tile ? [tile, property] : [tile._menuButton, 'accessible_name'];
        button[name] = _('Open the menu of AI Efficiency');
        // Up to date once Quick Settings are on the screen, so that the menu opens to its right height.
        tile.connectObject('clicked', () => this._click(),
            'notify::mapped', () => tile.mapped && this._syncMenu(), this);
        tile.menu.connectObject('open-state-changed', () => this._look(), this);
        this._tile = tile;
        this._menu = new ModeMenu(tile.menu, this, this._iconOf);
    }

    _changed(before) {
        const {presence, efficiency} = this._daemon.state;
        this._sync();
        const manual = words(efficiency.CurrentMode); // which a click on the tile takes when it switches Auto off
        if (manual && ![AUTO, this._settings.get_string('manual-mode')].includes(manual))
            this._settings.set_string('manual-mode', manual);
        this._tell(this._news.compare(before, this._daemon.state, this._nowS()));
        const isBack = presence === Presence.RUNNING && before.presence !== Presence.RUNNING;
        if (isBack || efficiency.CurrentMode !== before.efficiency.CurrentMode)
            this._notifications.withdraw(FAILED);
    }

    /** Shows what the daemon told last; the menu only while somebody looks at it. */
    _sync() {
        const {state} = this._daemon;
        const {icon, ...panel} = panelView(state, this._settings.get_string('indicator'));
        this._icon.set({...panel, gicon: this._iconOf(icon)});
        const {icon: sign, ...tile} = tileView(state);
        this._tile.set({...tile, gicon: this._iconOf(sign)});
        if (this._tile.menu.isOpen)
            this._syncMenu();
    }

    _syncMenu() {
        const isRightToLeft = this._tile.get_text_direction() === Clutter.TextDirection.RTL;
        this._menu.sync(menuView(this._daemon.state, {nameOf, timeOf, isRightToLeft}));
        if (this._tile.menu.isOpen)
            this._menu.fit();
    }

    /** What moves all the time is followed only where it is shown. */
    _look() {
        const {isOpen} = this._tile.menu;
        if (isOpen)
            this._daemon.retry();
        const showsWork = isOpen || this._settings.get_string('indicator') === 'working';
        this._daemon.watch([...isOpen ? ['routing', 'backends'] : [], ...showsWork ? ['fleet'] : []]);
        this._sync();
    }

    _tell(news) {
        const check = () => this._askBackends('RefreshBackendStatus', _('The backends could not be checked'));
        const actions = [[_('Try Again'), check], [_('Open Dashboard'), () => this.openDashboard()]];
        for (const each of news) {
            if (!each.title)
                this._notifications.withdraw(each.key);
            else if (this._settings.get_boolean(`notify-${each.topic}`))
                this._notifications.show(each, each.topic === 'backends' ? actions : []);
        }
    }

    _nowS() {
        return GLib.get_monotonic_time() / GLib.USEC_PER_SEC;
    }

    _click() {
        const {presence, efficiency} = this._daemon.state;
        const [action, manual] = ['click-action', 'manual-mode'].map(key => this._settings.get_string(key));
        if (presence === Presence.MISSING || (presence === Presence.RUNNING && action === 'open-menu'))
            this._tile.menu.open();
        else if (presence !== Presence.RUNNING)
            this.start();
        else
            this.change(...chosen(action === 'cycle' ? nextMode(efficiency) : otherSide(efficiency, manual)));
    }

    /** The keyboard shortcut: the next mode, shown on the screen as there may be no menu open. */
    async _cycle() {
        const {presence, efficiency} = this._daemon.state;
        const token = nextMode(efficiency);
        if (presence !== Presence.RUNNING)
            this.start();
        else if (await this.change(...chosen(token)))
            this._notifications.flash(modeIcon(token), modeOf(efficiency, token).label);
    }

    /** Asks for another mode or a hold; answers whether the daemon took it. */
    change(method, signature, values) {
        const ask = () => this._daemon.ask('efficiency', method, signature, values);
        return this._try(ask, _('The mode could not be changed'));
    }

    unload() {
        return this._askBackends('UnloadModels', _('The models could not be unloaded'));
    }

    start() {
        if (this._daemon.state.presence === Presence.MISSING)
            this._open(HOW_TO_INSTALL);
        else
            this._try(() => this._daemon.start(), _('AI Efficiency could not be started'));
    }

    openDashboard() {
        const uri = dashboardUri(this._daemon.state);
        if (uri)
            this._open(uri);
    }

    openSettings() {
        leave();
        this._try(() => this.openPreferences(), _('The settings could not be opened'));
    }

    _askBackends(method, failure) {
        return this._try(() => this._daemon.ask('fleet', method, '()', [], {withinMs: BACKENDS_WITHIN_MS}), failure);
    }

    _open(uri) {
        leave();
        const open = () => Gio.AppInfo.launch_default_for_uri(uri, global.create_app_launch_context(0, -1));
        this._try(open, _('The page could not be opened'), `${uri}: `);
    }

    async _try(act, failure, where = '') {
        try {
            await act();
            return true;
        } catch (error) {
            if (!isCancelled(error)) {
                const body = `${where}${messageOf(error) || _('It has not answered yet')}`;
                this._notifications.show({key: FAILED, icon: 'ai-state-down', title: failure, body},
                    [[_('Try Again'), () => this._try(act, failure, where)]]);
            }
            return false;
        }
    }
}

/** Quick Settings and the Overview make way for what is opened. */
function leave() {
    Main.overview.hide();
    Main.panel.closeQuickSettings();
}
