// What went wrong when the daemon was asked.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

/**
 * Whether a call failed only because nobody waits for it any more.
 *
 * @param {unknown} error - what was thrown
 * @returns {boolean}
 */
export function isCancelled(error) {
    return error instanceof GLib.Error && error.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED);
}

/**
 * Whether nobody answered in time.
 *
 * @param {unknown} error - what was thrown
 * @returns {boolean}
 */
export function isTimeout(error) {
    return error instanceof GLib.Error && error.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT);
}

/**
 * What went wrong, without D-Bus's own words around it.
 *
 * @param {unknown} error - what was thrown
 * @returns {string} empty where there was no answer
 */
export function messageOf(error) {
    if (isTimeout(error))
        return '';
    if (error instanceof GLib.Error)
        Gio.DBusError.strip_remote_error(error);
    return error?.message ?? String(error);
}

/**
 * What cannot be shown is not shown: the daemon is old, slow or gone, and the next change tells.
 *
 * @param {unknown} error - why
 */
export function quiet(error) {
    if (!isCancelled(error))
        console.debug(`ollama-proxy: ${messageOf(error)}`);
}
