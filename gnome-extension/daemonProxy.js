// The daemon on the session bus: the one module that knows D-Bus. It holds what the daemon told as one plain value.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

import {NOTHING, Presence} from './viewModel.js';

const NAME = 'ie.fio.OllamaProxy'; // the daemon's one connection owns this name and those below it
const ROOT = '/ie/fio/OllamaProxy';
const BACKEND = `${NAME}.Backend`;
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
const ANSWER_WITHIN_MS = 5000;
const START_WITHIN_MS = 30000;

const OBJECTS = {
    efficiency: {path: `${ROOT}/Efficiency`, iface: `${NAME}.Efficiency`},
    routing: {path: `${ROOT}/Routing`, iface: `${NAME}.Routing`},
};
const BACKENDS_PATH = `${ROOT}/Backends`;
const THERMAL = {path: `${ROOT}/Thermal`, iface: `${NAME}.Thermal`};

/** Follows the daemon from construction to `destroy`: it comes and goes, and nothing here waits for it. */
export class DaemonProxy {
    /**
     * @param {object} listeners - what hears of changes
     * @param {Function} listeners.changed - told after each change, with the state before
     * @param {Function} listeners.throttling - told of {id, name, reason, isThrottling}
     */
    constructor({changed, throttling}) {
        this._changed = changed;
        this._throttling = throttling;
        this._bus = Gio.DBus.session;
        this._cancellable = new Gio.Cancellable();
        this._watched = {routing: false, backends: false};
        this._session = null;
        this._state = NOTHING;
        this._nameWatch = Gio.bus_watch_name_on_connection(
            this._bus, NAME, Gio.BusNameWatcherFlags.NONE,
            (_bus, _name, owner) => this._appear(owner), () => this._vanish());
    }

    /** @returns {object} what the daemon told last; see NOTHING in viewModel.js */
    get state() {
        return this._state;
    }

    /** Ends everything: from now on no listener hears anything, and no call is pending. */
    destroy() {
        Gio.bus_unwatch_name(this._nameWatch);
        this._cancellable.cancel();
        this._closeSession();
        this._changed = this._throttling = () => {};
    }

    /**
     * Which measurements somebody looks at. They move all the time, so that the rest are not followed.
     *
     * @param {object} wanted - {routing, backends}
     */
    watch(wanted) {
        this._watched = wanted;
        if (this._session)
            this._followMeasurements(this._session);
    }

    /** Asks a daemon that did not answer once more. */
    retry() {
        if (this._session && this._state.presence === Presence.SILENT)
            this._load(this._session);
    }

    /**
     * Chooses a mode.
     *
     * @param {string} token - the mode's token
     */
    async setMode(token) {
        await this._call(this._session?.owner ?? NAME, OBJECTS.efficiency.path, OBJECTS.efficiency.iface,
            'SetMode', new GLib.Variant('(s)', [token]), this._cancellable);
    }

    /** Has the bus start the daemon. */
    async start() {
        if (this._state.presence !== Presence.ABSENT)
            return;
        this._tell({presence: Presence.STARTING});
        try {
            await this._call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus',
                'StartServiceByName', new GLib.Variant('(su)', [NAME, 0]), this._cancellable, START_WITHIN_MS);
        } finally {
            if (this._state.presence === Presence.STARTING)
                this._tell({presence: Presence.ABSENT});
        }
    }

    _appear(owner) {
        if (this._cancellable.is_cancelled())
            return;
        this._closeSession();
        const session = {owner, cancellable: new Gio.Cancellable(), subscriptions: [], measured: {}};
        this._session = session;
        this._tell({...NOTHING, presence: Presence.LOADING});
        this._subscribe(session);
        this._load(session);
    }

    _vanish() {
        this._closeSession();
        if (this._state.presence !== Presence.STARTING)
            this._tell(NOTHING);
    }

    _closeSession() {
        if (!this._session)
            return;
        this._session.cancellable.cancel();
        [...this._session.subscriptions, ...Object.values(this._session.measured)]
            .forEach(id => this._bus.signal_unsubscribe(id));
        this._session = null;
    }

    _subscribe(session) {
        const listen = (...which) => session.subscriptions.push(this._listen(session, ...which));
        listen(PROPERTIES, 'PropertiesChanged', OBJECTS.efficiency.path, OBJECTS.efficiency.iface,
            (_path, change) => this._merge(session, 'efficiency', change));
        for (const member of ['InterfacesAdded', 'InterfacesRemoved']) {
            listen(OBJECT_MANAGER, member, BACKENDS_PATH, null,
                () => this._loadBackends(session).catch(quiet));
        }
        listen(`${NAME}.Backends`, 'BackendStatusChanged', BACKENDS_PATH, null, () => {
            if (!session.measured.backends) // else its properties have been heard already
                this._loadBackends(session).catch(quiet);
        });
        listen(THERMAL.iface, 'ThrottlingStarted', THERMAL.path, null,
            (_path, [id]) => this._tellThrottling(session, id, true));
        listen(THERMAL.iface, 'ThrottlingStopped', THERMAL.path, null,
            (_path, [id]) => this._tellThrottling(session, id, false));
    }

    _listen(session, iface, member, path, arg0, heard) {
        return this._bus.signal_subscribe(session.owner, iface, member, path, arg0, Gio.DBusSignalFlags.NONE,
            (_bus, _sender, at, _iface, _member, parameters) => {
                if (session === this._session)
                    heard(at, parameters.recursiveUnpack());
            });
    }

    _followMeasurements(session) {
        const follow = {
            routing: () => this._listen(session, PROPERTIES, 'PropertiesChanged', OBJECTS.routing.path,
                OBJECTS.routing.iface, (_path, change) => this._merge(session, 'routing', change)),
            // Any path: an object manager's children are told apart by their interface.
            backends: () => this._listen(session, PROPERTIES, 'PropertiesChanged', null, BACKEND,
                (path, change) => this._mergeBackend(session, path, change)),
        };
        const load = {routing: () => this._loadObject(session, 'routing'), backends: () => this._loadBackends(session)};
        for (const what of Object.keys(follow)) {
            if (this._watched[what] && !session.measured[what]) {
                session.measured[what] = follow[what]();
                if (this._state.presence === Presence.RUNNING)
                    load[what]().catch(quiet);
            } else if (!this._watched[what] && session.measured[what]) {
                this._bus.signal_unsubscribe(session.measured[what]);
                delete session.measured[what];
            }
        }
    }

    async _load(session) {
        this._followMeasurements(session);
        try {
            // The mode is what the tile cannot do without; a daemon without the rest is an old one.
            const [efficiency] = await Promise.all([
                this._properties(session, OBJECTS.efficiency.path, OBJECTS.efficiency.iface),
                this._loadBackends(session).catch(quiet),
                this._loadObject(session, 'routing').catch(quiet),
            ]);
            this._tellOf(session, {efficiency, presence: Presence.RUNNING, trouble: ''});
        } catch (error) {
            this._tellOf(session, {presence: Presence.SILENT, trouble: reasonOf(error)});
        }
    }

    async _loadObject(session, what) {
        const {path, iface} = OBJECTS[what];
        const properties = await this._properties(session, path, iface);
        this._tellOf(session, {[what]: properties});
    }

    async _loadBackends(session) {
        const reply = await this._call(session.owner, BACKENDS_PATH, OBJECT_MANAGER, 'GetManagedObjects', null,
            session.cancellable);
        const [objects] = reply.recursiveUnpack();
        const backends = {};
        for (const path of Object.keys(objects)) { // in the daemon's own order
            if (objects[path][BACKEND])
                backends[path] = objects[path][BACKEND];
        }
        this._tellOf(session, {backends});
    }

    async _properties(session, path, iface) {
        const reply = await this._call(session.owner, path, PROPERTIES, 'GetAll', new GLib.Variant('(s)', [iface]),
            session.cancellable);
        return reply.recursiveUnpack()[0];
    }

    _merge(session, what, [, changed, invalidated]) {
        this._tellOf(session, {[what]: {...this._state[what], ...changed}});
        if (invalidated.length > 0)
            this._loadObject(session, what).catch(quiet);
    }

    _mergeBackend(session, path, [, changed]) {
        const {backends} = this._state;
        if (Object.hasOwn(backends, path))
            this._tellOf(session, {backends: {...backends, [path]: {...backends[path], ...changed}}});
    }

    async _tellThrottling(session, id, isThrottling) {
        let device = {};
        try {
            const reply = await this._call(session.owner, THERMAL.path, THERMAL.iface, 'GetHardwareState',
                new GLib.Variant('(s)', [id]), session.cancellable);
            [device] = reply.recursiveUnpack();
        } catch (error) {
            quiet(error); // the news is worth telling without the device's name, too
        }
        if (session === this._session)
            this._throttling({id, name: device.name, reason: device.throttling_reason, isThrottling});
    }

    _tellOf(session, news) {
        if (session === this._session)
            this._tell(news);
    }

    _tell(news) {
        const before = this._state;
        this._state = Object.freeze({...before, ...news});
        this._changed(before);
    }

    _call(destination, path, iface, method, parameters, cancellable, withinMs = ANSWER_WITHIN_MS) {
        return new Promise((resolve, reject) => {
            this._bus.call(destination, path, iface, method, parameters, null, Gio.DBusCallFlags.NO_AUTO_START,
                withinMs, cancellable, (bus, result) => {
                    try {
                        const reply = bus.call_finish(result);
                        // Cancelling does not recall a reply that was already under way.
                        cancellable.set_error_if_cancelled();
                        resolve(reply);
                    } catch (error) {
                        reject(error);
                    }
                });
        });
    }
}

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
 * What went wrong, without D-Bus's own words around it.
 *
 * @param {unknown} error - what was thrown
 * @returns {string}
 */
export function reasonOf(error) {
    if (error instanceof GLib.Error)
        Gio.DBusError.strip_remote_error(error);
    return error?.message ?? String(error);
}

/**
 * What cannot be shown is not shown: the daemon is old, slow or gone, and the next change tells.
 *
 * @param {unknown} error - why
 */
function quiet(error) {
    if (!isCancelled(error))
        console.debug(`ollama-proxy: ${reasonOf(error)}`);
}
