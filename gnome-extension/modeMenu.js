// SPDX-License-Identifier: MIT
// The menu behind the tile: the modes, a line about the backends, those in trouble, the day's energy, the ways out.

import Clutter from 'gi://Clutter';
import St from 'gi://St';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';
import {ensureActorVisibleInScrollView} from 'resource:///org/gnome/shell/misc/animationUtils.js';

import {_} from './format.js';
import {HoldRow, ModeRow, NoteRow, TroubleRow} from './rows.js';

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
    constructor(menu, {actions, icons}) {
        this._menu = menu;
        this._icons = icons;
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
        this._menu.setHeader(this._icons.get(header.icon), header.title, isRtl ? '' : header.sentence);
        this._note.present(isRtl ? header.sentence || note : note);
        this._hold.present(hold);
        this._aboveHold.visible = hold !== null;
        for (const [item, label] of [[this._charged, charged], [this._unload, unload], [this._start, start]]) {
            item.label.text = label;
            item.visible = label !== '';
        }
        this._present(this._modes, modes, () => new ModeRow(this._icons, this._choose));
        this._present(this._trouble, trouble, () => new TroubleRow(this._icons));
        this._fleet.present(fleet);
        this._energy.present(energy);
        this._modes.actor.visible = modes.length > 0;
        this._aboveFleet.visible = fleet !== '' || energy !== '';
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
