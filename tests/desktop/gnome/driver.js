// What the driver knows how to do inside the Shell; its text is evaluated there once, and it is `driver` from then on.
globalThis.driver = (() => {
    const {Clutter, GLib, St} = imports.gi;
    const PATIENCE_MS = 20000;
    const now = () => GLib.get_monotonic_time();
    const sleep = ms => new Promise(resolve => {
        GLib.timeout_add(GLib.PRIORITY_LOW, ms, () => {
            resolve();
            return GLib.SOURCE_REMOVE;
        });
    });
    // Clutter.get_default_backend() is gone in GNOME 51; stage.context came with 47.
    const seat = (global.stage.context?.get_backend?.() ?? Clutter.get_default_backend()).get_default_seat();
    const pointer = seat.create_virtual_device(Clutter.InputDeviceType.POINTER_DEVICE);
    const keyboard = seat.create_virtual_device(Clutter.InputDeviceType.KEYBOARD_DEVICE);

    // Lets the stage paint, so that positions are final and events have arrived.
    async function frame() {
        global.stage.queue_redraw();
        await sleep(25);
    }

    // The first true value of a function; an error in it means "not yet".
    async function until(what, ms = PATIENCE_MS) {
        const end = now() + ms * 1000;
        for (;;) {
            let last;
            try {
                last = await what();
                if (last)
                    return last;
            } catch (e) {
                last = e;
            }
            if (now() > end)
                throw new Error(`not within ${ms} ms: ${what}; last: ${last}`);
            await sleep(15);
        }
    }

    function all(root, fits, found = []) {
        if (fits(root))
            found.push(root);
        root.get_children().forEach(child => all(child, fits, found));
        return found;
    }

    const quickSettings = () => Main.panel.statusArea.quickSettings;
    const tile = title => all(quickSettings().menu.actor, a => a.title === title && 'checked' in a)[0];
    const texts = root => all(root, a => a.mapped && typeof a.text === 'string' && a.text !== '').map(a => a.text);

    // What carries this text, and takes clicks: itself or what it lies in.
    function withText(root, text) {
        const label = all(root, a => a.mapped && a.text === text)[0];
        let actor = label;
        while (actor && !actor.reactive)
            actor = actor.get_parent();
        if (!actor)
            throw new Error(`nothing that can be clicked says ${text}: ${JSON.stringify(texts(root))}`);
        return actor;
    }

    function boxOf(actor) {
        if (!actor?.mapped)
            throw new Error(`${actor} is not on the screen`);
        const {origin, size} = actor.get_transformed_extents();
        return {x: origin.x, y: origin.y, width: size.width, height: size.height};
    }

    function isOnScreen(actor) {
        const box = boxOf(actor);
        return box.x >= 0 && box.y >= 0 &&
            box.x + box.width <= global.stage.width && box.y + box.height <= global.stage.height;
    }

    async function moveTo(x, y) {
        await until(async () => {
            pointer.notify_absolute_motion(now(), x, y);
            await frame();
            const [atX, atY] = global.get_pointer();
            return Math.abs(atX - x) <= 1 && Math.abs(atY - y) <= 1;
        });
    }

    // Turns the wheel until an actor of a scrolled list can be seen.
    async function scrollTo(actor) {
        let view = actor;
        while (view && !(view instanceof St.ScrollView))
            view = view.get_parent();
        if (!view)
            return;
        await until(async () => {
            const [box, shown] = [boxOf(actor), boxOf(view)];
            const isAbove = box.y < shown.y - 1;
            if (!isAbove && box.y + box.height <= shown.y + shown.height + 1)
                return true;
            await moveTo(shown.x + shown.width / 2, shown.y + shown.height / 2);
            pointer.notify_discrete_scroll(now(), isAbove ? Clutter.ScrollDirection.UP : Clutter.ScrollDirection.DOWN,
                Clutter.ScrollSource.WHEEL);
            await frame();
            return false;
        });
    }

    async function click(actor) {
        await frame();
        await scrollTo(actor);
        const box = boxOf(actor);
        const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        const hit = global.stage.get_actor_at_pos(Clutter.PickMode.REACTIVE, x, y);
        if (actor !== hit && !actor.contains(hit))
            throw new Error(`${actor} at ${x},${y} takes no clicks, or is covered by ${hit}`);
        await moveTo(x, y);
        await clickHere();
    }

    async function clickHere() {
        for (const state of [Clutter.ButtonState.PRESSED, Clutter.ButtonState.RELEASED]) {
            pointer.notify_button(now(), Clutter.BUTTON_PRIMARY, state);
            await frame();
        }
    }

    async function press(...names) {
        const values = names.map(name => Clutter[`KEY_${name}`]);
        for (const value of values)
            keyboard.notify_keyval(now(), value, Clutter.KeyState.PRESSED);
        await frame();
        for (const value of values.reverse())
            keyboard.notify_keyval(now(), value, Clutter.KeyState.RELEASED);
        await frame();
    }

    // Pointer in the middle: from the corner its first movement would change the open menu.
    async function settle() {
        await until(() => !Main.layoutManager._startingUp, 60000);
        Main.overview.hide();
        Main.messageTray.getSources().forEach(source => source.destroy());
        await until(() => !Main.overview.visible && !Main.messageTray._banner);
        await moveTo(global.stage.width / 2, global.stage.height / 2);
    }

    async function openQuickSettings() {
        const {menu} = quickSettings();
        if (!menu.isOpen)
            await click(quickSettings());
        await until(() => menu.isOpen && menu.actor.mapped);
        await frame();
    }

    async function closeMenus() {
        quickSettings().menu.close();
        await until(() => !quickSettings().menu.isOpen && !quickSettings().menu.actor.mapped);
        await moveTo(global.stage.width / 2, global.stage.height / 2);
    }

    async function openMenuOf(title) {
        await openQuickSettings();
        const {menu} = tile(title);
        if (!menu.isOpen)
            await click(tile(title)._menuButton);
        await until(() => menu.isOpen && menu.actor.mapped);
        await frame();
    }

    function residentKb() {
        const [, bytes] = GLib.file_get_contents('/proc/self/status');
        return Number(/VmRSS:\s+(\d+)/.exec(new TextDecoder().decode(bytes))[1]);
    }

    return {
        all, boxOf, click, clickHere, closeMenus, frame, isOnScreen, moveTo, openMenuOf, openQuickSettings, press, quickSettings, residentKb,
        settle, sleep, texts, tile, until, withText,
    };
})();
