// The icon in the top bar, and the tile that belongs to it.

import GObject from 'gi://GObject';

import {SystemIndicator} from 'resource:///org/gnome/shell/ui/quickSettings.js';

import {ModeToggle} from './modeToggle.js';
import {panelView} from './viewModel.js';

export const Indicator = GObject.registerClass(
class OllamaProxyIndicator extends SystemIndicator {
    /** @param {object} parts - {actions, icons, settings, text, state, looked} */
    constructor(parts) {
        super();
        this._parts = parts;
        this._icon = this._addIndicator();
        this._toggle = new ModeToggle(parts);
        this.quickSettingsItems.push(this._toggle);
        this.sync();
    }

    /** Shows what the daemon told last. */
    sync() {
        const {icons, settings, text, state} = this._parts;
        const view = panelView(state(), settings.get_string('indicator'), text);
        this._icon.set({visible: view.visible, gicon: icons.get(view.icon), accessible_name: view.accessibleName});
        this._toggle.sync();
    }

    destroy() {
        this.quickSettingsItems.forEach(item => item.destroy());
        super.destroy();
    }
});
