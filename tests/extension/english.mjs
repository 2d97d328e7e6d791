// The pure modules under Node: what they take from GLib is English as it stands, or what a test makes of it.

import {register} from 'node:module';

const GLIB = `export default {
    dgettext: (_, message) => globalThis.translate?.(message) ?? message,
    dngettext: (_, one, many, n) => n === 1 ? one : many,
}`;
const HOOKS = `export const resolve = (name, context, next) =>
    name === 'gi://GLib' ? {url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(GLIB)}`)}, shortCircuit: true} : next(name, context)`;

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
