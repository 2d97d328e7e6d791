// SPDX-License-Identifier: MIT
// The menu behind the tile: the modes, a line about the backends, those in trouble, the day's energy, the ways out.

import Clutter from 'gi://Clutter';
import GObject from 'gi://GObject';
import Pango from 'gi://Pango';
import Shell from 'gi://Shell';
import St from 'gi://St';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';
import {ensureActorVisibleInScrollView} from 'resource:///org/gnome/shell/misc/animationUtils.js';

import {_} from './format.js';

/** How strongly words beside the point are drawn; the theme's own colour stays. */
const ASIDE = 178;

/** As wide as a row's text about is, until it is known. */
const ABOUT_WIDE = 314;

/** A label that takes as many lines as it needs. */
const WrappedLabel = GObject.registerClass(
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
const NoteRow = GObject.registerClass(
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
const TroubleRow = GObject.registerClass(
class OllamaProxyTroubleRow extends PopupMenu.PopupBaseMenuItem {
    constructor(icon) {
        super({activate: false, hover: false});
        this._iconOf = icon;
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
        this._icon.gicon = this._iconOf(icon);
        this.label.present(name);
        this._status.present(status);
        this.accessible_name = accessibleName;
    }
});

/** Holds a mode for a while, or ends what an application holds, with its icon. */
const HoldRow = GObject.registerClass(
class OllamaProxyHoldRow extends PopupMenu.PopupImageMenuItem {
    constructor(chosen) {
        super('', '');
        this.connect('activate', () => chosen(this._ends));
    }

    present({label, ends, application}) {
        this.visible = label !== '';
        this.label.text = label;
        this._ends = ends;
        const icon = Shell.AppSystem.get_default().lookup_app(`${application}.desktop`)?.get_icon() ?? null;
        this._icon.set({gicon: icon, visible: icon !== null});
    }
});

/** A mode that can be chosen. */
const ModeRow = GObject.registerClass(
class OllamaProxyModeRow extends PopupMenu.PopupImageMenuItem {
    constructor(icon, chosen) {
        super('', icon('ai-mode-other'));
        this._iconOf = icon;
        this.connect('activate', () => chosen(this._token));
        this._inUse = new St.Label({
            opacity: ASIDE, x_expand: true, x_align: Clutter.ActorAlign.END, y_align: Clutter.ActorAlign.CENTER,
        });
        this.add_child(this._inUse);
    }

    present({token, label, icon, checked, inUse, accessibleName}) {
        this._token = token;
        this.label.text = label;
        this.setIcon(this._iconOf(icon));
        this.setOrnament(checked ? PopupMenu.Ornament.CHECK : PopupMenu.Ornament.NONE);
        this._inUse.text = inUse;
        this._inUse.visible = inUse !== '';
        this.accessible_name = accessibleName;
    }
});

/** A section whose items scroll, also to where the keyboard's focus goes. */
class ScrolledSection extends PopupMenu.PopupMenuSection {
    constructor() {
        super();
        this.actor = new St.ScrollView({
            style_class: 'vfade',
            hscrollbar_policy: St.PolicyType.NEVER,
            vscrollbar_policy: St.PolicyType.AUTOMATIC,
            overlay_scrollbars: true,
            x_expand: true,
        });
        if ('add_actor' in this.actor) // GNOME 45
            this.actor.add_actor(this.box);
        else
            this.actor.child = this.box;
        this.actor._delegate = this;
    }

    /** Has the section be no higher than that, and scroll; as high as it wants where the limit is null. */
    limit(height) {
        const style = height === null ? null : `max-height: ${height}px;`;
        if (style !== this.actor.style)
            this.actor.style = style;
    }

    /** As a menu opens: at its beginning. */
    rewind() {
        (this.actor.vadjustment ?? this.actor.vscroll.adjustment).value = 0;
    }

    addMenuItem(item) {
        super.addMenuItem(item);
        this.followFocus(item);
    }

    /** Scrolls to an item, also to one of a section in this one, when the keyboard reaches it. */
    followFocus(item) {
        if (item instanceof PopupMenu.PopupBaseMenuItem)
            item.connect('key-focus-in', () => ensureActorVisibleInScrollView(this.actor, item));
    }
}

/** Fills a QuickToggleMenu, which owns and destroys the items, and ends it. */
export class ModeMenu {
    constructor(menu, {actions, icon}) {
        this._menu = menu;
        this._iconOf = icon;
        this._choose = token => actions.choose(token);
        this._all = new ScrolledSection();
        const add = (item, to = this._all) => {
            to.addMenuItem(item);
            return item;
        };
        this._note = add(new NoteRow(), menu);
        this._start = menu.addAction('', () => actions.start());
        add(this._all, menu);
        this._modes = add(new PopupMenu.PopupMenuSection());
        this._aboveHold = add(new PopupMenu.PopupSeparatorMenuItem());
        this._hold = add(new HoldRow(ends => actions.hold(ends)));
        this._charged = this._all.addAction('', () => actions.holdUntilCharged());
        this._aboveFleet = add(new PopupMenu.PopupSeparatorMenuItem());
        this._fleet = add(new NoteRow());
        this._trouble = add(new PopupMenu.PopupMenuSection());
        this._energy = add(new NoteRow());
        add(new PopupMenu.PopupSeparatorMenuItem());
        this._unload = this._all.addAction('', () => actions.unload());
        this._dashboard = this._all.addAction(_('Open Dashboard'), () => actions.openDashboard());
        this._all.addAction(_('AI Efficiency Settings'), () => actions.openSettings());
        menu.connect('open-state-changed', (_menu, isOpen) => isOpen && this._all.rewind());
    }

    /** Destroys the menu. Without this the Shell keeps it for ever: it remembers what sections hear of each other. */
    destroy() {
        const pairs = [[this._menu, this._all], [this._all, this._modes], [this._all, this._trouble]];
        for (const [menu, section] of pairs) {
            menu.disconnectObject(section);
            section.disconnectObject(menu);
        }
        this._menu.destroy(); // Quick Settings keep it elsewhere than the tile
    }

    /** Shows what menuView made. */
    sync({header, note, modes, hold, charged, unload, fleet, trouble, energy, dashboard, start}) {
        // Right to left, the Shell cuts what is below the title.
        const isRtl = this._menu.actor.text_direction === Clutter.TextDirection.RTL;
        this._menu.setHeader(this._iconOf(header.icon), header.title, isRtl ? '' : header.sentence);
        this._note.present(isRtl ? header.sentence || note : note);
        this._hold.present(hold);
        this._aboveHold.visible = hold.label !== '';
        for (const [item, label] of [[this._charged, charged], [this._unload, unload], [this._start, start]]) {
            item.label.text = label;
            item.visible = label !== '';
        }
        this._present(this._modes, modes, () => new ModeRow(this._iconOf, this._choose));
        this._present(this._trouble, trouble, () => new TroubleRow(this._iconOf));
        this._fleet.present(fleet);
        this._energy.present(energy);
        this._modes.actor.visible = modes.length > 0;
        this._aboveFleet.visible = fleet !== '' || trouble.length > 0 || energy !== '';
        this._dashboard.visible = dashboard !== null;
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
        this._all.limit(null);
        actor.style = null;
        const natural = of => of.get_preferred_height(of.width || -1)[1];
        const whole = actor.get_theme_node().adjust_preferred_height(0, natural(box))[1];
        const shift = Math.max(0, Math.min(whole - room, tileBottom - shelfY - top));
        const scrolled = natural(this._all.actor) - Math.max(0, whole - room - shift);
        if (whole - room > shift)
            this._all.limit(Math.floor(scrolled / scaleFactor));
        this._move(shift, Math.min(whole, room + shift) - shift, scaleFactor);
    }

    /** Draws the menu higher up than Quick Settings put it, and has them keep only the room that is left for it. */
    _move(shift, room, scaleFactor) {
        const {actor, box} = this._menu;
        if (shift > 0) {
            actor.style = `min-height: ${room / scaleFactor}px; max-height: ${room / scaleFactor}px;`;
            box.y = -shift;
        }
        box.fixed_position_set = shift > 0;
    }

    /** Rows stay where they are, so that the keyboard's focus does, too. */
    _present(section, views, make) {
        const rows = section._getMenuItems();
        rows.slice(views.length).forEach(row => row.destroy());
        for (const row of views.slice(rows.length).map(make)) {
            section.addMenuItem(row);
            this._all.followFocus(row);
        }
        section._getMenuItems().forEach((row, i) => row.present(views[i]));
    }
}
