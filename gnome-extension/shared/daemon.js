// SPDX-License-Identifier: MIT
// The daemon on the session bus, for the Shell and the preferences: what it told, as one plain value.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

const NAME = 'ie.fio.OllamaProxy'; // the daemon's one connection owns this name and those below it
const ROOT = '/ie/fio/OllamaProxy';
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
const ANSWER_WITHIN_MS = 5000;
const START_WITHIN_MS = 30000;
/** As long as the slowest backend may take. */
export const BACKENDS_WITHIN_MS = 60000;

/** The parts of the state by the last names of their interfaces, and of their objects but for the many backends. */
const PARTS = {
    Backend: 'backends', Efficiency: 'efficiency', Routing: 'routing', Backends: 'fleet',
    SystemState: 'systemState', Thermal: 'thermal',
};

/** MISSING: the bus cannot start it. LOADING: it runs and was asked for its state. SILENT: it did not answer. */
export const Presence = Object.freeze({
    MISSING: 'missing', ABSENT: 'absent', STARTING: 'starting',
    LOADING: 'loading', RUNNING: 'running', SILENT: 'silent',
});

/** What is known before anything is known. */
export const NOTHING = Object.freeze({
    presence: Presence.ABSENT, trouble: '', // why it is silent
    daemon: {}, efficiency: {}, routing: {}, fleet: {}, systemState: {}, thermal: {},
    backends: {}, // properties by path
});

/** Calls a method of a program that runs; never starts it. `hear` gets the answer before anything else happens. */
function call(destination, path, iface, method, parameters, cancellable, how = {}) {
    const {hear = () => {}, withinMs = ANSWER_WITHIN_MS} = how;
    return new Promise((resolve, reject) => {
        const answered = (bus, result) => {
            try {
                const reply = bus.call_finish(result);
                cancellable.set_error_if_cancelled(); // which does not recall a reply that was already under way
                hear(reply.recursiveUnpack());
                resolve();
            } catch (error) {
                reject(error);
            }
        };
        Gio.DBus.session.call(destination, path, iface, method, parameters, null, Gio.DBusCallFlags.NO_AUTO_START,
            withinMs, cancellable, answered);
    });
}

const callBus = (method, parameters, cancellable, how) =>
    call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', method, parameters, cancellable, how);

const isOf = (error, domain, name) => error instanceof GLib.Error && error.matches(domain, domain[name]);
const isTimeout = error => isOf(error, Gio.IOErrorEnum, 'TIMED_OUT');
/** Whether a call failed only because nobody waits for it any more. */
export const isCancelled = error => isOf(error, Gio.IOErrorEnum, 'CANCELLED');

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

/** Follows the daemon from construction to `destroy`: it comes and goes, and nothing here waits for it. */
export class Daemon {
    /** `changed` hears the state that was. */
    constructor(changed) {
        this._changed = changed;
        this._cancellable = new Gio.Cancellable();
        this._watched = [];
        this._subscriptions = new Map();
        this._owner = null;
        this.state = Object.freeze({...NOTHING, presence: Presence.LOADING});
        this._nameWatch = Gio.bus_watch_name_on_connection(Gio.DBus.session, NAME, Gio.BusNameWatcherFlags.NONE,
            (_bus, _name, owner) => this._appear(owner), () => this._vanish());
    }

    /** Ends everything: from now on no listener hears anything, and no call is pending. */
    destroy() {
        this._changed = () => {};
        Gio.bus_unwatch_name(this._nameWatch);
        this._cancellable.cancel();
        this._leave();
    }

    /** Which parts of the state somebody looks at. They move all the time, so that the rest is not followed. */
    watch(parts) {
        this._watched = parts;
        if (this._owner)
            this._follow();
    }

    /** Asks a daemon that did not answer once more, and the bus whether a missing one is installed by now. */
    retry() {
        if (this.state.presence === Presence.SILENT)
            this._load();
        if (this.state.presence === Presence.MISSING)
            this._lookForIt();
    }

    /** Asks an object of the daemon's. What it answers by itself it answers soon, unless it is busy or stopped. */
    async ask(part, method, signature = '()', values = [], how = {}) {
        const {_owner: owner} = this;
        const parameters = new GLib.Variant(signature, values);
        try {
            await call(owner ?? NAME, ...addressOf(part), method, parameters, this._cancellable, how);
        } catch (error) {
            if (owner && owner === this._owner && isTimeout(error) && !how.withinMs)
                this._miss(error);
            throw error;
        }
    }

    enable(path, isEnabled) {
        const change = new GLib.Variant('(ssv)', [`${NAME}.Backend`, 'Enabled', new GLib.Variant('b', isEnabled)]);
        const how = {withinMs: BACKENDS_WITHIN_MS};
        return call(this._owner ?? NAME, path, PROPERTIES, 'Set', change, this._cancellable, how);
    }

    /** Has the bus start the daemon, and one that does not answer asked again. */
    async start() {
        this.retry();
        if (this.state.presence !== Presence.ABSENT)
            return;
        this._tell({presence: Presence.STARTING});
        try {
            const name = new GLib.Variant('(su)', [NAME, 0]);
            await callBus('StartServiceByName', name, this._cancellable, {withinMs: START_WITHIN_MS});
        } catch (error) {
            if (!isOf(error, Gio.DBusError, 'SERVICE_UNKNOWN'))
                throw error;
            this._tell({presence: Presence.MISSING});
        } finally {
            if (this.state.presence === Presence.STARTING)
                this._tell({presence: Presence.ABSENT});
        }
    }

    /** Whether the bus could start it, where it does not run. */
    _lookForIt() {
        const hear = ([names]) => {
            if ([Presence.ABSENT, Presence.MISSING].includes(this.state.presence))
                this._tell({presence: names.includes(NAME) ? Presence.ABSENT : Presence.MISSING});
        };
        callBus('ListActivatableNames', null, this._cancellable, {hear}).catch(quiet);
    }

    _appear(owner) {
        if (this._cancellable.is_cancelled())
            return;
        this._leave();
        this._owner = owner;
        this._here = new Gio.Cancellable();
        this._tell({...NOTHING, presence: Presence.LOADING});
        const refresh = () => this._refresh().catch(quiet);
        for (const member of ['InterfacesAdded', 'InterfacesRemoved'])
            this._listen(member, ROOT, OBJECT_MANAGER, member, null, refresh);
        this._listen('status', ...addressOf('fleet'), 'BackendStatusChanged', null, refresh);
        for (const member of ['ThrottlingStarted', 'ThrottlingStopped'])
            this._listen(member, ...addressOf('thermal'), member, null, refresh);
        // The root itself is not among the objects that it manages.
        const hear = ([daemon]) => this._tell({daemon});
        call(owner, ROOT, PROPERTIES, 'GetAll', new GLib.Variant('(s)', [NAME]), this._here, {hear}).catch(quiet);
        this._load();
    }

    _vanish() {
        this._leave();
        if (this.state.presence === Presence.STARTING)
            return;
        this._tell(NOTHING);
        this._lookForIt();
    }

    _leave() {
        this._here?.cancel();
        this._owner = null;
        [...this._subscriptions.keys()].forEach(key => this._unlisten(key));
    }

    _listen(key, path, iface, member, arg0, heard) {
        const id = Gio.DBus.session.signal_subscribe(this._owner, iface, member, path, arg0, Gio.DBusSignalFlags.NONE,
            (_bus, _sender, at, _iface, _member, parameters) => {
                heard(at, parameters.recursiveUnpack());
                this.retry(); // a silent daemon speaks again
            });
        this._subscriptions.set(key, id);
    }

    _unlisten(key) {
        Gio.DBus.session.signal_unsubscribe(this._subscriptions.get(key));
        this._subscriptions.delete(key);
    }

    /** Follows the properties of the mode and of what is watched, and of nothing else any more. */
    _follow() {
        const wanted = ['efficiency', ...this._watched];
        const ended = part => this._subscriptions.has(part) && !wanted.includes(part);
        Object.values(PARTS).filter(ended).forEach(part => this._unlisten(part));
        const begun = wanted.filter(part => !this._subscriptions.has(part));
        for (const part of begun) {
            const [path, iface] = addressOf(part);
            this._listen(part, path, PROPERTIES, 'PropertiesChanged', iface,
                (at, [, changed]) => this._merge(part, at, changed));
        }
        if (begun.length > 0 && this.state.presence === Presence.RUNNING)
            this._refresh().catch(quiet);
    }

    async _load(withinMs = ANSWER_WITHIN_MS) {
        const {_here: here} = this;
        this._follow();
        try {
            await this._refresh(withinMs);
            this._tell({presence: Presence.RUNNING, trouble: ''});
        } catch (error) {
            if (!here.is_cancelled())
                this._miss(error);
        }
    }

    /** The answer of a daemon that is stopped or busy is waited for, however long it takes. */
    _miss(error) {
        this._tell({presence: Presence.SILENT, trouble: messageOf(error)});
        if (isTimeout(error))
            this._load(GLib.MAXINT32);
    }

    _refresh(withinMs = ANSWER_WITHIN_MS) {
        const hear = ([objects]) => {
            const news = {backends: {}};
            for (const [path, interfaces] of Object.entries(objects)) {
                for (const [iface, properties] of Object.entries(interfaces)) {
                    const part = PARTS[iface.slice(NAME.length + 1)];
                    if (part === 'backends')
                        news.backends[path] = properties;
                    else if (part)
                        news[part] = properties;
                }
            }
            this._tell(news);
        };
        return call(this._owner, ROOT, OBJECT_MANAGER, 'GetManagedObjects', null, this._here, {hear, withinMs});
    }

    _merge(part, path, changed) {
        const {[part]: before} = this.state;
        if (part !== 'backends')
            this._tell({[part]: {...before, ...changed}});
        else if (Object.hasOwn(before, path))
            this._tell({backends: {...before, [path]: {...before[path], ...changed}}});
    }

    _tell(news) {
        const before = this.state;
        this.state = Object.freeze({...before, ...news});
        this._changed(before);
    }
}

/** The path, of which backends have many, and the interface of a part. */
function addressOf(part) {
    const [name] = Object.entries(PARTS).find(([, each]) => each === part);
    return [part === 'backends' ? null : `${ROOT}/${name}`, `${NAME}.${name}`];
}
