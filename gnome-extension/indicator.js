// SPDX-License-Identifier: MIT
// The icon in the top bar, and the tile that belongs to it.

import GObject from 'gi://GObject';
import Shell from 'gi://Shell';

import {formatTime} from 'resource:///org/gnome/shell/misc/dateUtils.js';
import {QuickMenuToggle, SystemIndicator} from 'resource:///org/gnome/shell/ui/quickSettings.js';

import {_} from './format.js';
import {ModeMenu} from './modeMenu.js';
import {menuView, panelView, tileView, title} from './viewModel.js';

/** Words that the desktop knows: what a program is called, else the name of its file, and a time as its clock has it. */
const DESKTOP = {
    nameOf: id => Shell.AppSystem.get_default().lookup_app(`${id}.desktop`)?.get_name() ?? id.split(' ')[0].split('/').at(-1),
    timeOf: unixSeconds => formatTime(new Date(1000 * unixSeconds), {timeOnly: true}),
};

const ModeToggle = GObject.registerClass(
class OllamaProxyModeToggle extends QuickMenuToggle {
    constructor(parts) {
        const {actions, looked} = parts;
        super({title: title(), toggleMode: false});
        this._parts = parts;
        this.add_style_class_name('ollama-proxy-tile');
        this._contents = new ModeMenu(this.menu, parts);
        const name = _('Open the menu of AI Efficiency');
        if ('menuButtonAccessibleName' in this) // GNOME 49 and later
            this.menuButtonAccessibleName = name;
        else
            this._menuButton.accessible_name = name;
        this.connect('clicked', () => actions.click(() => this.menu.open()));
        this.menu.connectObject('open-state-changed', (_menu, isOpen) => {
            looked(isOpen);
            this.sync();
        }, this);
        // Up to date once Quick Settings are on the screen, so that the menu opens to its right height.
        this.connect('notify::mapped', () => this.mapped && this._syncMenu());
        this.sync();
    }

    destroy() {
        this._contents.destroy();
        super.destroy();
    }

    /** Shows what the daemon told last; the menu only while somebody looks at it. */
    sync() {
        const {subtitle, icon, checked} = tileView(this._parts.state());
        this.set({subtitle, checked, gicon: this._parts.icons.get(icon)});
        if (this.menu.isOpen)
            this._syncMenu();
    }

    _syncMenu() {
        this._contents.sync(menuView(this._parts.state(), DESKTOP));
        if (this.menu.isOpen)
            this._contents.fit();
    }
});

export const Indicator = GObject.registerClass(
class OllamaProxyIndicator extends SystemIndicator {
    /** `parts`: {actions, icons, settings, state, looked}; `looked` hears whether the menu is open. */
    constructor(parts) {
        super();
        this._parts = parts;
        this._icon = this._addIndicator();
        this._toggle = new ModeToggle(parts);
        this.quickSettingsItems.push(this._toggle);
        this.sync();
    }

    sync() {
        const {icons, settings, state} = this._parts;
        const view = panelView(state(), settings.get_string('indicator'));
        this._icon.set({visible: view.visible, gicon: icons.get(view.icon), accessible_name: view.accessibleName});
        this._toggle.sync();
    }

    openMenu() {
        this._toggle.menu.open();
    }

    destroy() {
        this.quickSettingsItems.forEach(item => item.destroy());
        super.destroy();
    }
});
