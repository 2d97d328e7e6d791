// The menu behind the tile: the modes, the backends, what waits, the last request, the day's energy.

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

import {BackendsSection} from './backendsSection.js';
import {FigureRow, NoteRow} from './rows.js';
import {ScrolledSection} from './scrolledSection.js';

/** Fills a QuickToggleMenu, which owns and destroys the items, and ends it. */
export class ModeMenu {
    /**
     * @param {object} menu - the tile's menu
     * @param {object} parts - {actions, icons, text}
     */
    constructor(menu, {actions, icons, text}) {
        this._menu = menu;
        this._actions = actions;
        this._icons = icons;
        this._modeItems = [];
        this._note = new NoteRow();
        menu.addMenuItem(this._note);
        this._start = menu.addAction('', () => actions.start());
        this._scrolled = new ScrolledSection();
        this._fillScrolled(icons);
        menu.addMenuItem(this._scrolled);
        menu.addMenuItem(new PopupMenu.PopupSeparatorMenuItem());
        this._dashboard = menu.addAction(text._('Open Dashboard'), () => actions.openDashboard());
        this._settings = menu.addAction(text._('Settings'), () => actions.openSettings());
    }

    _fillScrolled(icons) {
        const reached = item => this._scrolled.followFocus(item);
        this._modes = new PopupMenu.PopupMenuSection();
        this._backends = new BackendsSection(icons, reached);
        this._queue = new FigureRow();
        this._last = new FigureRow();
        this._today = new FigureRow();
        this._aboveBackends = new PopupMenu.PopupSeparatorMenuItem();
        const items = [this._modes, this._aboveBackends, this._backends, this._queue, this._last, this._today];
        items.forEach(item => this._scrolled.addMenuItem(item));
        [this._queue, this._last, this._today].forEach(reached);
    }

    /** Destroys the menu. Without this the Shell keeps it for ever: it remembers what sections hear of each other. */
    destroy() {
        const pairs = [[this._menu, this._scrolled], [this._scrolled, this._modes], [this._scrolled, this._backends]];
        for (const [menu, section] of pairs) {
            menu.disconnectObject(section);
            section.disconnectObject(menu);
        }
        this._menu.destroy(); // Quick Settings keep it elsewhere than the tile
    }

    /**
     * Shows the view.
     *
     * @param {object} view - what menuView made
     */
    sync(view) {
        const {header, note, modes, backends, more, queue, last, today, dashboard, start} = view;
        this._menu.setHeader(this._icons.get(header.icon), header.title, header.sentence);
        this._note.present(note);
        this._start.label.text = start ?? '';
        this._start.visible = start !== null;
        this._syncModes(modes);
        this._backends.sync(backends, more);
        this._queue.present(queue);
        this._last.present(last);
        this._today.present(today);
        this._dashboard.visible = dashboard !== null;
        this._scrolled.actor.visible = modes.length > 0;
        this._aboveBackends.visible = backends.length > 0 || more !== '';
    }

    /** Keeps Quick Settings on the screen, with what stands around the part that scrolls. */
    fit() {
        const {sourceActor: tile, actor, box} = this._menu;
        const shelf = Main.panel.statusArea.quickSettings.menu.box;
        const bottom = ({y, height}) => y + height;
        const [, tileY] = tile.get_transformed_position();
        const [, shelfY] = shelf.get_transformed_position();
        // The menu pushes down what is below its tile, also while it still has another height.
        const below = shelfY + shelf.height - tileY - tile.height - actor.height;
        const [, whole] = actor.get_theme_node().adjust_preferred_height(...box.get_preferred_height(box.width || -1));
        const [, scrolled] = this._scrolled.actor.get_preferred_height(-1);
        const area = Main.layoutManager.getWorkAreaForMonitor(Main.layoutManager.primaryIndex);
        const margin = Math.max(0, shelfY - area.y); // the same below as above
        this._scrolled.limit(bottom(area) - margin - tileY - tile.height - Math.max(0, below) - (whole - scrolled));
    }

    _syncModes(modes) {
        const tokens = modes.map(mode => mode.token).join();
        if (tokens !== this._tokens) {
            this._tokens = tokens;
            this._modes.removeAll();
            this._modeItems = modes.map(mode => this._addMode(mode.token));
        }
        modes.forEach((mode, i) => {
            const item = this._modeItems[i];
            item.label.text = mode.label;
            item.setIcon(this._icons.get(mode.icon));
            item.setOrnament(mode.checked ? PopupMenu.Ornament.CHECK : PopupMenu.Ornament.NONE);
            item.accessible_name = mode.accessibleName;
        });
    }

    _addMode(token) {
        const item = new PopupMenu.PopupImageMenuItem('', this._icons.get('ai-mode-other'));
        item.connect('activate', () => this._actions.choose(token));
        this._modes.addMenuItem(item);
        this._scrolled.followFocus(item);
        return item;
    }
}
