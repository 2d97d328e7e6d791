// SPDX-License-Identifier: MIT
// A part of a menu that scrolls where the screen is too small for all of it.

import St from 'gi://St';

import * as PopupMenu from 'resource:///org/gnome/shell/ui/popupMenu.js';
import {ensureActorVisibleInScrollView} from 'resource:///org/gnome/shell/misc/animationUtils.js';

/** A section whose items scroll, also to where the keyboard's focus goes. */
export class ScrolledSection extends PopupMenu.PopupMenuSection {
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

    /** Scrolls to an item when the keyboard reaches it. */
    followFocus(item) {
        item.connect('key-focus-in', () => ensureActorVisibleInScrollView(this.actor, item));
    }
}
