// SPDX-License-Identifier: MIT
// What went wrong when the daemon was asked.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

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
