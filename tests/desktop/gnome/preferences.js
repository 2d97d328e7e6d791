// GNOME's own program for preferences, and beside it a method on the bus that evaluates an expression in it.
// It is started by the name of that program, which finds its parts by the name of the file that was started.
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Gtk from 'gi://Gtk?version=4.0';

const INTERFACE = `<node><interface name="tests.Preferences">
    <method name="Eval"><arg type="s" direction="in"/><arg type="s" direction="out"/></method>
</interface></node>`;

function all(root, fits, found = []) {
    if (fits(root))
        found.push(root);
    for (let child = root.get_first_child(); child; child = child.get_next_sibling())
        all(child, fits, found);
    return found;
}

const window = () => Gtk.Window.get_toplevels().get_item(0);
const texts = () => all(window(), w => w instanceof Gtk.Label && w.get_mapped() && w.label).map(w => w.label);

function only(found, what) {
    if (found.length !== 1)
        throw new Error(`${found.length} times on the screen: ${what}; there is ${JSON.stringify(texts())}`);
    return found[0];
}

// The one widget of a class that is in sight and says this.
function saying(kind, text) {
    const says = widget => all(widget, w => w instanceof Gtk.Label && w.get_mapped() && w.label === text).length > 0;
    return only(all(window(), w => w.constructor.$gtype.name === kind && says(w)), `${kind} "${text}"`);
}

const switchOf = title => {
    const isRow = name => ['AdwActionRow', 'AdwSwitchRow'].includes(name);
    const rows = all(window(), w => isRow(w.constructor.$gtype.name) && w.get_mapped() && w.title === title);
    return only(all(only(rows, title), w => w instanceof Gtk.Switch), `the switch of ${title}`);
};

// Its middle, counted from the window's corner.
function middleOf(widget) {
    const [ok, {origin, size}] = widget.compute_bounds(window());
    if (!ok || !widget.get_mapped() || !widget.is_sensitive())
        throw new Error('it cannot be clicked yet');
    return [origin.x + size.width / 2, origin.y + size.height / 2];
}

const isHovered = widget => (widget.get_state_flags() & Gtk.StateFlags.PRELIGHT) !== 0;

// Ends when the window has drawn itself as it is now.
const drawn = () => new Promise(resolve => {
    const clock = window().get_frame_clock();
    const id = clock.connect('after-paint', () => {
        clock.disconnect(id);
        resolve();
    });
    window().queue_draw();
});

globalThis.prefs = {all, drawn, isHovered, middleOf, saying, switchOf, texts, window};

const service = Gio.DBusExportedObject.wrapJSObject(INTERFACE, {
    async EvalAsync([text], invocation) {
        try {
            const value = await (0, eval)(text); // eslint-disable-line no-eval
            invocation.return_value(new GLib.Variant('(s)', [JSON.stringify(value ?? null)]));
        } catch (e) {
            invocation.return_dbus_error('tests.Error', `${e}`);
        }
    },
});
service.export(Gio.DBus.session, '/tests');
await import('file:///usr/share/gnome-shell/org.gnome.Shell.Extensions');
