// SPDX-License-Identifier: MIT
// A page that shows what the daemon tells, and on top why it tells nothing, with a button where one helps.
import Adw from 'gi://Adw';
import Gtk from 'gi://Gtk';

import {absence} from '../viewModel.js';

export class DaemonPage {
    constructor(properties, daemon, tell, start) {
        this._daemon = daemon;
        this._tell = tell;
        this._start = new Gtk.Button({css_classes: ['suggested-action'], valign: Gtk.Align.CENTER});
        this._start.connect('clicked', start);
        this._notice = new Adw.ActionRow({use_markup: false, subtitle_lines: 0, title_lines: 0});
        this._notice.add_prefix(new Gtk.Image({icon_name: 'dialog-information-symbolic'}));
        this._notice.add_suffix(this._start);
        this.page = new Adw.PreferencesPage(properties);
        this._noticeGroup = this._group();
        this._noticeGroup.add(this._notice);
    }

    _group(properties = {}) {
        const group = new Adw.PreferencesGroup(properties);
        this.page.add(group);
        return group;
    }

    /** Says how the daemon is, unless all is well; answers whether it runs. */
    _showPresence(state) {
        const [title, sentence, helps] = absence(state) ?? ['', '', ''];
        this._notice.set({title, subtitle: sentence === title ? '' : sentence});
        this._noticeGroup.visible = title !== '';
        this._start.set({label: helps, visible: helps !== ''});
        return title === '';
    }
}
