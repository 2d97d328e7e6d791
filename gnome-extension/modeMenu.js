// The menu behind the tile: the modes, the backends, the last request, the day's energy.

import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';

import {BackendsSection} from './backendsSection.js';
import {FigureRow, NoteRow} from './rows.js';
import {ScrolledSection} from './scrolledSection.js';

/** As many rows high are the separator and the paddings around the menu and its parts. */
const SPACES = 2.5;

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
        this._last = new FigureRow();
        this._today = new FigureRow();
        this._aboveBackends = new PopupMenu.PopupSeparatorMenuItem();
        const items = [this._modes, this._aboveBackends, this._backends, this._last, this._today];
        items.forEach(item => this._scrolled.addMenuItem(item));
        [this._last, this._today].forEach(reached);
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
        const {header, note, modes, backends, more, last, today, dashboard, start} = view;
        this._menu.setHeader(this._icons.get(header.icon), header.title, header.sentence);
        this._note.present(note);
        this._start.label.text = start ?? '';
        this._start.visible = start !== null;
        this._syncModes(modes);
        this._backends.sync(backends, more);
        this._last.present(last);
        this._today.present(today);
        this._dashboard.visible = dashboard !== null;
        this._scrolled.actor.visible = modes.length > 0;
        this._aboveBackends.visible = backends.length > 0 || more !== '';
    }

    /** Keeps the menu on the screen, below its tile. */
    fit() {
        const {sourceActor: tile} = this._menu;
        const [, y] = tile.get_transformed_position();
        const row = this._settings.get_preferred_height(-1)[1];
        const rows = this._dashboard.visible ? 2 : 1;
        const header = this._menu._header?.get_preferred_height(-1)[1] ?? 2 * row;
        const note = this._note.visible ? this._note.get_preferred_height(-1)[1] : 0;
        this._scrolled.fit(y + tile.height, header + note + (rows + SPACES) * row);
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
