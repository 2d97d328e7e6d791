// The daemon on the session bus: the one module that knows D-Bus. It holds what the daemon told as one plain value.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

import {isTimeout, quiet, reasonOf} from './errors.js';
import {NOTHING, Presence} from './viewModel.js';

const NAME = 'ie.fio.OllamaProxy'; // the daemon's one connection owns this name and those below it
const ROOT = '/ie/fio/OllamaProxy';
const BACKEND = `${NAME}.Backend`;
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
const ANSWER_WITHIN_MS = 5000;
const START_WITHIN_MS = 30000;

const BACKENDS_PATH = `${ROOT}/Backends`;
const OBJECTS = {
    efficiency: {path: `${ROOT}/Efficiency`, iface: `${NAME}.Efficiency`},
    routing: {path: `${ROOT}/Routing`, iface: `${NAME}.Routing`},
    fleet: {path: BACKENDS_PATH, iface: `${NAME}.Backends`},
};
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
        this._watched = {};
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
     * @param {object} wanted - {routing, backends, fleet}: whether it is
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
        const session = this._session;
        try {
            await this._call(session?.owner ?? NAME, OBJECTS.efficiency.path, OBJECTS.efficiency.iface,
                'SetMode', new GLib.Variant('(s)', [token]), this._cancellable);
        } catch (error) {
            if (session && isTimeout(error))
                this._miss(session, error);
            throw error;
        }
    }

    /** Has the bus start the daemon. */
    async start() {
        if (this._state.presence !== Presence.ABSENT)
            return;
        this._tell({presence: Presence.STARTING});
        try {
            await this._call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus',
                'StartServiceByName', new GLib.Variant('(su)', [NAME, 0]), this._cancellable,
                {withinMs: START_WITHIN_MS});
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
        const followObject = what => this._listen(session, PROPERTIES, 'PropertiesChanged', OBJECTS[what].path,
            OBJECTS[what].iface, (_path, change) => this._merge(session, what, change));
        const follow = {
            routing: () => followObject('routing'),
            fleet: () => followObject('fleet'),
            // Any path: an object manager's children are told apart by their interface.
            backends: () => this._listen(session, PROPERTIES, 'PropertiesChanged', null, BACKEND,
                (path, change) => this._mergeBackend(session, path, change)),
        };
        const load = what => what === 'backends' ? this._loadBackends(session) : this._loadObject(session, what);
        for (const what of Object.keys(follow)) {
            if (this._watched[what] && !session.measured[what]) {
                session.measured[what] = follow[what]();
                if (this._state.presence === Presence.RUNNING)
                    load(what).catch(quiet);
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
            await Promise.all([
                this._loadObject(session, 'efficiency'),
                this._loadBackends(session).catch(() => this._tellOf(session, {lacksBackends: true})),
                this._loadObject(session, 'routing').catch(quiet),
                this._loadObject(session, 'fleet').catch(quiet),
            ]);
            session.isAwaited = false;
            this._tellOf(session, {presence: Presence.RUNNING, trouble: ''});
        } catch (error) {
            this._miss(session, error);
        }
    }

    /** Without the answer of a daemon that is stopped or busy: the next one is waited for, however long it takes. */
    async _miss(session, why) {
        this._tellOf(session, {presence: Presence.SILENT, trouble: reasonOf(why)});
        if (session !== this._session || session.isAwaited || !isTimeout(why))
            return;
        session.isAwaited = true;
        await this._call(session.owner, ROOT, 'org.freedesktop.DBus.Peer', 'Ping', null, session.cancellable,
            {withinMs: GLib.MAXINT32}).catch(quiet);
        if (session === this._session)
            this._load(session);
    }

    async _loadObject(session, what) {
        const {path, iface} = OBJECTS[what];
        await this._call(session.owner, path, PROPERTIES, 'GetAll', new GLib.Variant('(s)', [iface]),
            session.cancellable, {hear: ([properties]) => this._tellOf(session, {[what]: properties})});
    }

    async _loadBackends(session) {
        await this._call(session.owner, BACKENDS_PATH, OBJECT_MANAGER, 'GetManagedObjects', null,
            session.cancellable,
            {hear: ([objects]) => this._tellOf(session, {backends: backendsOf(objects), lacksBackends: false})});
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
            await this._call(session.owner, THERMAL.path, THERMAL.iface, 'GetHardwareState',
                new GLib.Variant('(s)', [id]), session.cancellable, {hear: ([told]) => (device = told)});
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

    // `hear` gets the reply at once: a signal that comes right after it must not be undone by it when a promise is
    // taken up later.
    _call(destination, path, iface, method, parameters, cancellable, {hear = () => {}, withinMs = ANSWER_WITHIN_MS} = {}) {
        return new Promise((resolve, reject) => {
            this._bus.call(destination, path, iface, method, parameters, null, Gio.DBusCallFlags.NO_AUTO_START,
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
}

/**
 * The backends among the objects of the daemon's object manager, in the daemon's own order.
 *
 * @param {object} objects - interfaces with their properties, by path
 * @returns {object} properties by path
 */
function backendsOf(objects) {
    return Object.fromEntries(Object.entries(objects)
        .filter(([, interfaces]) => interfaces[BACKEND])
        .map(([path, interfaces]) => [path, interfaces[BACKEND]]));
}
