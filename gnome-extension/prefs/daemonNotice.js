// SPDX-License-Identifier: MIT
// What stands above a page while the daemon cannot be spoken to: a plain sentence, and a button where one helps.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {fill, _} from '../format.js';
import {Presence} from '../shared/daemonState.js';
import {HOW_TO_INSTALL} from '../viewModel.js';

/** The group; it is not there while everything is well. */
export class DaemonNotice {
    constructor(start) {
        this._button = new Gtk.Button({
            css_classes: ['suggested-action'], label: _('_Start'), use_underline: true, valign: Gtk.Align.CENTER,
        });
        this._button.connect('clicked', start);
        this._row = new Adw.ActionRow({use_markup: false, subtitle_lines: 0, title_lines: 0});
        this._row.add_prefix(new Gtk.Image({icon_name: 'dialog-information-symbolic'}));
        this._row.add_suffix(this._button);
        this.group = new Adw.PreferencesGroup();
        this.group.add(this._row);
    }

    show({presence, trouble}) {
        const [title = '', subtitle = ''] = {
            [Presence.MISSING]: [_('ollama-proxyd Is Not Installed'), HOW_TO_INSTALL],
            [Presence.ABSENT]: [_('The Daemon Is Not Running'), _('ollama-proxyd is started by the next click on the tile, or here.')],
            [Presence.STARTING]: [_('The Daemon Is Starting')],
            [Presence.SILENT]: [_('The Daemon Does Not Answer'), trouble && fill(_('It said: {reason}'), {reason: trouble})],
        }[presence] ?? [];
        this._row.set({title, subtitle});
        this.group.visible = title !== '';
        this._button.visible = presence === Presence.ABSENT || presence === Presence.STARTING;
        this._button.sensitive = presence === Presence.ABSENT;
    }
}
