// SPDX-License-Identifier: MIT
// The menu behind the tile: the modes, holds, the backends in a line and those in trouble, the day's energy, ways out.

import Clutter from 'gi://Clutter';
import GObject from 'gi://GObject';
import Pango from 'gi://Pango';
import Shell from 'gi://Shell';
import St from 'gi://St';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';
import {ensureActorVisibleInScrollView} from 'resource:///org/gnome/shell/misc/animationUtils.js';

const ASIDE = 178; // how strongly words beside the point are drawn; the theme's own colour stays
const ABOUT_WIDE = 314; // as a row's text about is, until it is known

/** A label that takes as many lines as it needs. */
const WrappedLabel = GObject.registerClass(
class OllamaProxyWrappedLabel extends St.Label {
    constructor(properties = {}) {
        super({x_expand: true, y_align: Clutter.ActorAlign.CENTER, ...properties});
        const {WrapMode: {WORD_CHAR: mode}, EllipsizeMode: {NONE: ellipsize}} = Pango;
        this.clutter_text.set({line_wrap: true, line_wrap_mode: mode, ellipsize});
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
        this.visible = words !== '';
        if (this._givenWidth !== this._guessedWidth)
            this.queue_relayout();
    }
});

/** A line about the whole, or what is in trouble: the sign of its state, its name, and below it what is wrong. */
const TextRow = GObject.registerClass(
class OllamaProxyTextRow extends PopupMenu.PopupBaseMenuItem {
    constructor(_actions, iconOf) {
        super({activate: false, hover: false, style_class: 'ollama-proxy-text'});
        this._signOf = iconOf;
        const sign = new St.Icon({style_class: 'popup-menu-icon', y_align: Clutter.ActorAlign.START});
        Object.assign(this, {_sign: sign, _name: new WrappedLabel(), _status: new WrappedLabel({opacity: ASIDE})});
        const layout = new Clutter.BoxLayout({orientation: Clutter.Orientation.VERTICAL});
        const column = new St.Widget({layout_manager: layout, x_expand: true});
        [this._name, this._status].forEach(label => column.add_child(label));
        [this._sign, column].forEach(actor => this.add_child(actor));
    }

    present({icon, name = '', status}) {
        this._sign.set({gicon: icon ? this._signOf(icon) : null, visible: Boolean(icon)});
        this._name.present(name);
        this._status.style_class = name ? 'ollama-proxy-aside' : '';
        this._status.present(status);
        this.accessible_name = name ? `${name}, ${status}` : status;
    }
});

/** Something to do; where it is about an application, with its icon. */
const ActionRow = GObject.registerClass(
class OllamaProxyActionRow extends PopupMenu.PopupImageMenuItem {
    constructor(actions) {
        super('', '');
        this.connect('activate', () => actions[this._does](...this._asks));
    }

    present({label, does = 'change', asks = [], application = ''}) {
        this.label.text = label;
        this._does = does;
        this._asks = asks;
        const gicon = Shell.AppSystem.get_default().lookup_app(`${application}.desktop`)?.get_icon() ?? null;
        this._icon.set({gicon, visible: gicon !== null});
    }
});

const ModeRow = GObject.registerClass(
class OllamaProxyModeRow extends PopupMenu.PopupImageMenuItem {
    constructor(actions, iconOf) {
        super('', iconOf('ai-mode-other'));
        this._iconOf = iconOf;
        this.connect('activate', () => actions.change(...this._asks));
        const {END, CENTER} = Clutter.ActorAlign;
        this._inUse = new St.Label({opacity: ASIDE, x_expand: true, x_align: END, y_align: CENTER});
        this.add_child(this._inUse);
    }

    present({label, icon, checked, inUse, accessibleName, asks}) {
        this._asks = asks;
        this.label.text = label;
        this.setIcon(this._iconOf(icon));
        this.setOrnament(checked ? PopupMenu.Ornament.CHECK : PopupMenu.Ornament.NONE);
        this._inUse.text = inUse; // never hidden: the Shell then draws the row higher
        this.accessible_name = accessibleName;
    }
});

/** The groups of menuView from the top: their rows, and whether a line stands above them. */
const GROUPS = [
    ['notes', TextRow, false], ['start', ActionRow, false], ['modes', ModeRow, false],
    ['holds', ActionRow, true], ['fleet', TextRow, true], ['ways', ActionRow, true],
];

/** Fills a QuickToggleMenu, which owns and destroys the items, and ends it. */
export class ModeMenu {
    constructor(menu, actions, iconOf) {
        this._menu = menu;
        this._iconOf = iconOf;
        this._all = new PopupMenu.PopupMenuSection();
        this._scroll = new St.ScrollView({
            style_class: 'vfade', overlay_scrollbars: true, x_expand: true,
            hscrollbar_policy: St.PolicyType.NEVER, vscrollbar_policy: St.PolicyType.AUTOMATIC,
        });
        if ('add_actor' in this._scroll) // GNOME 45
            this._scroll.add_actor(this._all.box);
        else
            this._scroll.child = this._all.box;
        this._all.actor = this._scroll;
        this._scroll._delegate = this._all;
        menu.addMenuItem(this._all);
        this._groups = GROUPS.map(([key, Row, hasLine]) => {
            const line = hasLine ? new PopupMenu.PopupSeparatorMenuItem() : null;
            const section = new PopupMenu.PopupMenuSection();
            [line, section].forEach(item => item && this._all.addMenuItem(item));
            const make = () => {
                const row = new Row(actions, iconOf);
                row.connect('key-focus-in', () => ensureActorVisibleInScrollView(this._scroll, row));
                return row;
            };
            return {key, line, section, make};
        });
        const scrolled = this._scroll.vadjustment ?? this._scroll.vscroll.adjustment;
        menu.connect('open-state-changed', () => (scrolled.value = 0)); // it opens at its top
    }

    /** Destroys the menu. Without this the Shell keeps it for ever: it remembers what sections hear of each other. */
    destroy() {
        const pairs = this._groups.map(({section}) => [this._all, section]);
        for (const [menu, section] of [[this._menu, this._all], ...pairs]) {
            menu.disconnectObject(section);
            section.disconnectObject(menu);
        }
        this._menu.destroy(); // Quick Settings keep it elsewhere than the tile
    }

    /** Shows what menuView made. Rows stay where they are, so that the keyboard's focus does, too. */
    sync({header, ...views}) {
        this._menu.setHeader(this._iconOf(header.icon), header.title, header.sentence);
        for (const {key, line, section, make} of this._groups) {
            const shown = views[key];
            shown.slice(section._getMenuItems().length).forEach(() => section.addMenuItem(make()));
            const rows = section._getMenuItems(); // the rest is hidden, not destroyed: it may be under a click
            rows.forEach((row, i) => (row.visible = i < shown.length));
            shown.forEach((view, i) => rows[i].present(view));
            [section.actor, line].forEach(each => each?.set({visible: shown.length > 0}));
        }
    }

    /** Keeps the menu on the screen: it moves up over the tiles that it dims, and scrolls where that is not enough. */
    fit() {
        const {sourceActor: tile, actor, box} = this._menu;
        const {scaleFactor} = St.ThemeContext.get_for_stage(global.stage);
        const shelf = Main.panel.statusArea.quickSettings.menu.box;
        const area = Main.layoutManager.getWorkAreaForMonitor(Main.layoutManager.primaryIndex);
        const [, shelfY] = shelf.get_transformed_position();
        const [, tileY] = tile.get_transformed_position();
        const top = shelf.get_theme_node().get_content_box(shelf.get_allocation_box()).y1;
        const tileBottom = tileY + tile.height;
        // The same space below the shelf as above it, and inside it.
        const room = area.y + area.height - Math.max(0, shelfY - area.y) - top - tileBottom;
        this._scroll.style = actor.style = null;
        const natural = of => of.get_preferred_height(of.width || -1)[1];
        const whole = actor.get_theme_node().adjust_preferred_height(0, natural(box))[1];
        const shift = Math.max(0, Math.min(whole - room, tileBottom - shelfY - top));
        const excess = Math.max(0, whole - room - shift);
        if (excess > 0)
            this._scroll.style = `max-height: ${Math.floor((natural(this._scroll) - excess) / scaleFactor)}px;`;
        // Drawn higher up than Quick Settings put it, which keep only the room that is left for it.
        if (shift > 0) {
            const left = (Math.min(whole, room + shift) - shift) / scaleFactor;
            actor.style = `min-height: ${left}px; max-height: ${left}px;`;
            box.y = -shift;
        }
        box.fixed_position_set = shift > 0;
    }
}
