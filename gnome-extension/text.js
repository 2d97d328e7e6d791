// SPDX-License-Identifier: MIT
// The person's language, for the Shell and the preferences alike: both bind the domain when they load the extension.

import GLib from 'gi://GLib';

const DOMAIN = 'ollama-proxy@fio.ie';

export const _ = message => GLib.dgettext(DOMAIN, message);
export const ngettext = (one, many, n) => GLib.dngettext(DOMAIN, one, many, n);
