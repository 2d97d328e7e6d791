// One call on the session bus.

import Gio from 'gi://Gio';

const ANSWER_WITHIN_MS = 5000;

/**
 * Calls a method of a program that runs; never starts it.
 *
 * @param {string} destination - a name on the bus
 * @param {string} path - the object's path
 * @param {string} iface - the interface
 * @param {string} method - the method
 * @param {?object} parameters - a GLib.Variant
 * @param {object} cancellable - a Gio.Cancellable
 * @param {object} how - `hear` gets the reply at once: a signal that comes right after it must not be undone by it
 * when the promise is taken up later. `withinMs`: how long it may take.
 * @returns {Promise<void>}
 */
export function call(destination, path, iface, method, parameters, cancellable, how = {}) {
    const {hear = () => {}, withinMs = ANSWER_WITHIN_MS} = how;
    return new Promise((resolve, reject) => {
        Gio.DBus.session.call(destination, path, iface, method, parameters, null, Gio.DBusCallFlags.NO_AUTO_START,
            withinMs, cancellable, (bus, result) => {
                try {
                    const reply = bus.call_finish(result);
                    // Cancelling does not recall a reply that was already under way.
                    cancellable.set_error_if_cancelled();
                    hear(reply.recursiveUnpack());
                    resolve();
                } catch (error) {
                    reject(error);
                }
            });
    });
}
