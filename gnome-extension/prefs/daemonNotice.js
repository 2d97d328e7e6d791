// SPDX-License-Identifier: MIT
// What stands above a page while the daemon cannot be spoken to: a plain sentence, and a button where one helps.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {fill} from '../format.js';
import {Presence} from '../shared/daemonState.js';
import {_} from '../text.js';

/** The group; it is not there while everything is well. */
export class DaemonNotice {
    constructor(start) {
        this._button = new Gtk.Button({label: _('_Start'), use_underline: true, valign: Gtk.Align.CENTER});
        this._button.add_css_class('suggested-action');
        this._button.connect('clicked', start);
        this._icon = new Gtk.Image({icon_name: 'dialog-information-symbolic'});
        this._row = new Adw.ActionRow({use_markup: false, subtitle_lines: 0, title_lines: 0});
        this._row.add_prefix(this._icon);
        this._row.add_suffix(this._button);
        this.group = new Adw.PreferencesGroup({visible: false});
        this.group.add(this._row);
    }

    show({presence, trouble}, tooOld = false) {
        const [title, subtitle] = this._words(presence, tooOld, trouble);
        this.group.visible = title !== '';
        this._row.title = title;
        this._row.subtitle = subtitle;
        this._button.visible = presence === Presence.ABSENT || presence === Presence.STARTING;
        this._button.sensitive = presence === Presence.ABSENT;
    }

    _words(presence, tooOld, trouble) {
        if (presence === Presence.MISSING)
            return [_('ollama-proxyd Is Not Installed'), 'https://fio.ie/ollama-proxy'];
        if (presence === Presence.ABSENT)
            return [_('The Daemon Is Not Running'), _('ollama-proxyd is started by the next click on the tile, or here.')];
        if (presence === Presence.STARTING)
            return [_('The Daemon Is Starting'), ''];
        if (presence === Presence.SILENT)
            return [_('The Daemon Does Not Answer'), trouble && fill(_('It said: {reason}'), {reason: trouble})];
        if (tooOld) {
            return [_('This Daemon Is Too Old'),
                _('It cannot be told these settings yet. Update ollama-proxyd, or write them in its configuration file.')];
        }
        return ['', ''];
    }
}
