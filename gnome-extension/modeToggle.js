// The tile in Quick Settings.

import GObject from 'gi://GObject';

import {QuickMenuToggle} from 'resource:///org/gnome/shell/ui/quickSettings.js';

import {ModeMenu} from './modeMenu.js';
import {menuView, tileView} from './viewModel.js';

export const ModeToggle = GObject.registerClass(
class OllamaProxyModeToggle extends QuickMenuToggle {
    /** @param {object} parts - {actions, icons, text, state, looked}: `looked` hears whether the menu is open */
    constructor(parts) {
        const {actions, icons, text, state, looked} = parts;
        super({title: tileView(state(), text).title, toggleMode: false});
        this._icons = icons;
        this._text = text;
        this._state = state;
        this._contents = new ModeMenu(this.menu, parts);
        this.connect('clicked', () => actions.click(() => this.menu.open()));
        this.menu.connect('open-state-changed', (_menu, isOpen) => {
            looked(isOpen);
            this.sync();
        });
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
        const {subtitle, icon, checked} = tileView(this._state(), this._text);
        this.set({subtitle, checked, gicon: this._icons.get(icon)});
        if (this.menu.isOpen)
            this._syncMenu();
    }

    _syncMenu() {
        this._contents.sync(menuView(this._state(), this._text));
        if (this.menu.isOpen)
            this._contents.fit();
    }
});
