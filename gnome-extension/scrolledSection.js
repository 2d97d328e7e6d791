// A part of a menu that scrolls where the screen is too small for all of it.

import St from 'gi://St';

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
     * Has the section be no higher than that, and scroll.
     *
     * @param {number} room - in the stage's pixels
     */
    limit(room) {
        const {scaleFactor} = St.ThemeContext.get_for_stage(global.stage);
        const style = `max-height: ${Math.max(LEAST_HEIGHT, Math.floor(room / scaleFactor))}px;`;
        if (style !== this.actor.style)
            this.actor.style = style;
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
