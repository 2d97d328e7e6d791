// Rows of the menu that tell something and do nothing; the keyboard reaches them and a screen reader reads them.

import Clutter from 'gi://Clutter';
import GObject from 'gi://GObject';
import Pango from 'gi://Pango';
import St from 'gi://St';

import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

/** How strongly words beside the point are drawn; the theme's own colour stays. */
const ASIDE = 178;
const PLAIN = 255;

/** States that ask for nothing, whose icons stand back. */
const CALM = ['ready', 'asleep', 'off', 'unknown'];

/** As wide as a row's text about is, until it is known. */
const ABOUT_WIDE = 290;

/** A label that takes as many lines as it needs. */
const WrappedLabel = GObject.registerClass(
class OllamaProxyWrappedLabel extends St.Label {
    constructor(properties = {}) {
        super({x_expand: true, ...properties});
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

/**
 * Actors one below the other.
 *
 * @param {object[]} actors - from above
 * @returns {St.Widget}
 */
function column(...actors) {
    const box = new St.Widget({
        layout_manager: new Clutter.BoxLayout({orientation: Clutter.Orientation.VERTICAL}),
        x_expand: true,
        y_align: Clutter.ActorAlign.CENTER,
    });
    actors.forEach(actor => box.add_child(actor));
    return box;
}

export const InfoRow = GObject.registerClass(
class OllamaProxyInfoRow extends PopupMenu.PopupBaseMenuItem {
    constructor(styleClass) {
        super({activate: false, hover: false, style_class: styleClass});
    }
});

/** One sentence. */
export const NoteRow = GObject.registerClass(
class OllamaProxyNoteRow extends InfoRow {
    constructor() {
        super('ollama-proxy-note');
        this.label = new WrappedLabel({style_class: 'ollama-proxy-aside', opacity: ASIDE});
        this.label_actor = this.label;
        this.add_child(this.label);
    }

    present(sentence) {
        this.visible = sentence !== '';
        this.label.present(sentence);
    }
});

/** A value under its caption. */
export const FigureRow = GObject.registerClass(
class OllamaProxyFigureRow extends InfoRow {
    constructor() {
        super('ollama-proxy-figure');
        this._caption = new WrappedLabel({style_class: 'ollama-proxy-aside', opacity: ASIDE});
        this.label = new WrappedLabel();
        this.add_child(column(this._caption, this.label));
    }

    present(figure) {
        this.visible = figure !== null;
        if (!figure)
            return;
        this._caption.present(figure.caption);
        this.label.present(figure.value);
        this.accessible_name = `${figure.caption}: ${figure.value}`;
    }
});

/** A backend: its state as an icon and in words. */
export const BackendRow = GObject.registerClass(
class OllamaProxyBackendRow extends InfoRow {
    constructor(icons) {
        super('ollama-proxy-backend');
        this._icons = icons;
        this._icon = new St.Icon({style_class: 'popup-menu-icon'});
        this.label = new St.Label({y_align: Clutter.ActorAlign.CENTER});
        this._status = new St.Label({
            style_class: 'ollama-proxy-aside',
            opacity: ASIDE,
            x_expand: true,
            x_align: Clutter.ActorAlign.END,
            y_align: Clutter.ActorAlign.CENTER,
        });
        this._detail = new WrappedLabel({style_class: 'ollama-proxy-aside', opacity: ASIDE});
        const line = new St.BoxLayout({style_class: 'ollama-proxy-line', x_expand: true});
        line.add_child(this.label);
        line.add_child(this._status);
        this.add_child(this._icon);
        this.add_child(column(line, this._detail));
    }

    present(row) {
        this._icon.gicon = this._icons.get(row.icon);
        this._icon.opacity = CALM.includes(row.state) ? ASIDE : PLAIN;
        this.label.text = row.name;
        this._status.text = row.status;
        this._status.visible = row.status !== '';
        this._status.opacity = CALM.includes(row.state) ? ASIDE : PLAIN;
        this._detail.present(row.detail);
        this._detail.visible = row.detail !== '';
        this.accessible_name = row.accessibleName;
    }
});
