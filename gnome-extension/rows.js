// SPDX-License-Identifier: MIT
// Rows of the menu, which tell something; the keyboard reaches them and a screen reader reads them.

import Clutter from 'gi://Clutter';
import GObject from 'gi://GObject';
import Pango from 'gi://Pango';
import Shell from 'gi://Shell';
import St from 'gi://St';

import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

/** How strongly words beside the point are drawn; the theme's own colour stays. */
const ASIDE = 178;

/** As wide as a row's text about is, until it is known. */
const ABOUT_WIDE = 314;

/** A label that takes as many lines as it needs. */
export const WrappedLabel = GObject.registerClass(
class OllamaProxyWrappedLabel extends St.Label {
    constructor(properties = {}) {
        super({x_expand: true, y_align: Clutter.ActorAlign.CENTER, ...properties});
        this.clutter_text.set({
            line_wrap: true,
            line_wrap_mode: Pango.WrapMode.WORD_CHAR,
            ellipsize: Pango.EllipsizeMode.NONE,
        });
    }

    vfunc_allocate(box) {
        this._givenWidth = box.get_width();
        super.vfunc_allocate(box);
    }

    /** Quick Settings before GNOME 51 ask for the height at no width, and would get that of a single line. */
    vfunc_get_preferred_height(forWidth) {
        this._guessedWidth = this._givenWidth || ABOUT_WIDE;
        return super.vfunc_get_preferred_height(forWidth < 0 ? this._guessedWidth : forWidth);
    }

    present(words) {
        this.text = words;
        if (this._givenWidth !== this._guessedWidth)
            this.queue_relayout();
    }
});

/** One line about the whole, as long as there is anything to say. */
export const NoteRow = GObject.registerClass(
class OllamaProxyNoteRow extends PopupMenu.PopupBaseMenuItem {
    constructor() {
        super({activate: false, hover: false, style_class: 'ollama-proxy-note'});
        this.label = new WrappedLabel({opacity: ASIDE});
        this.label_actor = this.label;
        this.add_child(this.label);
    }

    present(sentence) {
        this.visible = sentence !== '';
        this.label.present(sentence);
    }
});

/** A backend in trouble: the sign of its state, its name, and below it what is wrong. */
export const TroubleRow = GObject.registerClass(
class OllamaProxyTroubleRow extends PopupMenu.PopupBaseMenuItem {
    constructor(icons) {
        super({activate: false, hover: false});
        this._icons = icons;
        this._icon = new St.Icon({style_class: 'popup-menu-icon', y_align: Clutter.ActorAlign.START});
        this.label = new WrappedLabel();
        this._status = new WrappedLabel({style_class: 'ollama-proxy-aside', opacity: ASIDE});
        const column = new St.Widget({
            layout_manager: new Clutter.BoxLayout({orientation: Clutter.Orientation.VERTICAL}), x_expand: true,
        });
        column.add_child(this.label);
        column.add_child(this._status);
        this.add_child(this._icon);
        this.add_child(column);
    }

    present({icon, name, status, accessibleName}) {
        this._icon.gicon = this._icons.get(icon);
        this.label.present(name);
        this._status.present(status);
        this.accessible_name = accessibleName;
    }
});

/** Holds a mode for a while, or ends what an application holds, with its icon. */
export const HoldRow = GObject.registerClass(
class OllamaProxyHoldRow extends PopupMenu.PopupImageMenuItem {
    constructor(chosen) {
        super('', '');
        this.connect('activate', () => chosen(this._ends));
    }

    present(hold) {
        this.visible = hold !== null;
        if (!hold)
            return;
        this.label.text = hold.label;
        this._ends = hold.ends;
        const icon = Shell.AppSystem.get_default().lookup_app(`${hold.application}.desktop`)?.get_icon() ?? null;
        this._icon.set({gicon: icon, visible: icon !== null});
    }
});

/** A mode that can be chosen. */
export const ModeRow = GObject.registerClass(
class OllamaProxyModeRow extends PopupMenu.PopupImageMenuItem {
    constructor(icons, chosen) {
        super('', icons.get('ai-mode-other'));
        this._icons = icons;
        this.connect('activate', () => chosen(this._token));
        this._inUse = new St.Label({
            opacity: ASIDE, x_expand: true, x_align: Clutter.ActorAlign.END, y_align: Clutter.ActorAlign.CENTER,
        });
        this.add_child(this._inUse);
    }

    present({token, label, icon, checked, inUse, accessibleName}) {
        this._token = token;
        this.label.text = label;
        this.setIcon(this._icons.get(icon));
        this.setOrnament(checked ? PopupMenu.Ornament.CHECK : PopupMenu.Ornament.NONE);
        this._inUse.text = inUse;
        this._inUse.visible = inUse !== '';
        this.accessible_name = accessibleName;
    }
});
