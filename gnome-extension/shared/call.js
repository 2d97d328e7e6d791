// SPDX-License-Identifier: MIT
// The daemon's objects, one call on the session bus, and what went wrong with it.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

export const NAME = 'ie.fio.OllamaProxy'; // the daemon's one connection owns this name and those below it
export const ROOT = '/ie/fio/OllamaProxy';
export const PROPERTIES = 'org.freedesktop.DBus.Properties';
export const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
export const BACKEND = `${NAME}.Backend`;
export const OBJECTS = {
    daemon: {path: ROOT, iface: NAME},
    backends: {path: null, iface: BACKEND}, // of any path: many objects
    efficiency: {path: `${ROOT}/Efficiency`, iface: `${NAME}.Efficiency`},
    routing: {path: `${ROOT}/Routing`, iface: `${NAME}.Routing`},
    fleet: {path: `${ROOT}/Backends`, iface: `${NAME}.Backends`},
    systemState: {path: `${ROOT}/SystemState`, iface: `${NAME}.SystemState`},
    thermal: {path: `${ROOT}/Thermal`, iface: `${NAME}.Thermal`},
};

export const PART_OF = Object.fromEntries(Object.entries(OBJECTS).map(([part, {iface}]) => [iface, part]));

const ANSWER_WITHIN_MS = 5000;

/** Calls a method of a program that runs; never starts it. */
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

/** Calls a method of the bus itself. */
export const callBus = (method, parameters, cancellable, how) =>
    call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', method, parameters, cancellable, how);

const isOf = (error, domain, code) => error instanceof GLib.Error && error.matches(domain, code);

/** Whether a call failed only because nobody waits for it any more. */
export const isCancelled = error => isOf(error, Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED);

export const isTimeout = error => isOf(error, Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT);

/** Whether the bus does not know how to start the daemon. */
export const isMissing = error => isOf(error, Gio.DBusError, Gio.DBusError.SERVICE_UNKNOWN);

/** What went wrong, without D-Bus's own words around it; empty where there was no answer. */
export function messageOf(error) {
    if (isTimeout(error))
        return '';
    if (error instanceof GLib.Error)
        Gio.DBusError.strip_remote_error(error);
    return error?.message ?? String(error);
}

/** What cannot be shown is not shown: the daemon is old, slow or gone, and the next change tells. */
export function quiet(error) {
    if (!isCancelled(error))
        console.debug(`ollama-proxy: ${messageOf(error)}`);
}
