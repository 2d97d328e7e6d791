// A part of a menu that scrolls where the screen is too small for all of it.

import St from 'gi://St';

import * as Main from 'resource:///org/gnome/shell/ui/main.js';
import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';
import {ensureActorVisibleInScrollView} from 'resource:///org/gnome/shell/misc/animationUtils.js';

/** Less than this would show no whole row. */
const LEAST_HEIGHT = 120;

/** A section whose items scroll, also to where the keyboard's focus goes. */
export class ScrolledSection extends PopupMenu.PopupMenuSection {
    constructor() {
        super();
        this.actor = new St.ScrollView({
            style_class: 'ollama-proxy-scroll',
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

    /**
     * Has the section end above the bottom of the screen, with what stands below it.
     *
     * @param {number} top - where the menu begins on the stage
     * @param {number} beside - the height of the menu's other parts
     */
    fit(top, beside) {
        const {y, height} = Main.layoutManager.getWorkAreaForMonitor(Main.layoutManager.primaryIndex);
        const {scaleFactor} = St.ThemeContext.get_for_stage(global.stage);
        const room = Math.max(LEAST_HEIGHT, (y + height - top - beside) / scaleFactor);
        this.actor.style = `max-height: ${Math.floor(room)}px;`;
    }

    /**
     * Scrolls to an item when the keyboard reaches it.
     *
     * @param {object} item - a menu item somewhere in the section
     */
    followFocus(item) {
        item.connect('key-focus-in', () => ensureActorVisibleInScrollView(this.actor, item));
    }
}
