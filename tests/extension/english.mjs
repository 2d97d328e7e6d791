// The pure parts under Node: what they take from GLib is English as it stands, or what a test makes of it; widgets are none.

import {register} from 'node:module';

const GLIB = `export default {
    dgettext: (_, message) => globalThis.translate?.(message) ?? message,
    dngettext: (_, one, many, n) => n === 1 ? one : many,
}`;
const HOOKS = `const module = source => ({url: 'data:text/javascript,' + encodeURIComponent(source), shortCircuit: true});
export const resolve = (name, context, next) => name === 'gi://GLib' ? module(${JSON.stringify(GLIB)})
    : name.startsWith('gi://') ? module('export default {}') : next(name, context)`;

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
