// SPDX-License-Identifier: MIT
// The daemon on the session bus, for the Shell and the preferences: what it told, as one plain value.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

import {BACKEND, call, callBus, isMissing, isTimeout, messageOf, NAME, OBJECT_MANAGER, OBJECTS, PROPERTIES, quiet, ROOT} from './call.js';
import {NOTHING, Presence} from './daemonState.js';

const START_WITHIN_MS = 30000;
const SETTING_TYPES = {boolean: 'b', string: 's', number: 'd'};

/** Follows the daemon from construction to `destroy`: it comes and goes, and nothing here waits for it. */
export class Daemon {
    constructor({objects, withDetails = false, changed, throttling = null}) {
        this._objects = objects;
        this._withDetails = withDetails;
        this._changed = changed;
        this._throttling = throttling;
        this._bus = Gio.DBus.session;
        this._cancellable = new Gio.Cancellable();
        this._watched = {};
        this._session = null;
        this._state = Object.freeze({...NOTHING, presence: Presence.LOADING});
        this._nameWatch = Gio.bus_watch_name_on_connection(
            this._bus, NAME, Gio.BusNameWatcherFlags.NONE,
            (_bus, _name, owner) => this._appear(owner), () => this._vanish());
    }

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

    /** Which measurements somebody looks at. They move all the time, so that the rest are not followed. */
    watch(wanted) {
        this._watched = wanted;
        if (this._session)
            this._followMeasurements(this._session);
    }

    /** Asks a daemon that did not answer once more, and the bus whether a missing one is installed by now. */
    retry() {
        if (this._session && this._state.presence === Presence.SILENT)
            this._load(this._session);
        if (this._state.presence === Presence.MISSING)
            this._lookForIt();
    }

    async setMode(token) {
        await this._askEfficiency('SetMode', '(s)', [token]);
    }

    /** Holds a mode above the chosen one; the daemon keeps the time, or watches the charger where there is none. */
    async hold(token, id, seconds = null) {
        const [how, signature, more] = seconds === null ? ['UntilCharged', '(sss)', []] : ['For', '(sssu)', [seconds]];
        await this._askEfficiency(`HoldMode${how}`, signature, [token, '', id, ...more]);
    }

    async ask(what, method, hear) {
        await call(NAME, OBJECTS[what].path, OBJECTS[what].iface, method, null, this._cancellable, {hear});
    }

    async enable(path, isEnabled) {
        await call(this._session?.owner ?? NAME, path, PROPERTIES, 'Set',
            new GLib.Variant('(ssv)', [BACKEND, 'Enabled', new GLib.Variant('b', isEnabled)]), this._cancellable);
    }

    async changeSettings(entries) {
        const typed = Object.entries(entries)
            .map(([key, value]) => [key, new GLib.Variant(SETTING_TYPES[typeof value], value)]);
        await this._askEfficiency('ChangeSettings', '(a{sv})', [Object.fromEntries(typed)]);
    }

    async resetSettings(keys) {
        await this._askEfficiency('ResetSettings', '(as)', [keys]);
    }

    /** Has the bus start the daemon. */
    async start() {
        if (this._state.presence !== Presence.ABSENT)
            return;
        this._tell({presence: Presence.STARTING});
        try {
            await callBus('StartServiceByName', new GLib.Variant('(su)', [NAME, 0]), this._cancellable,
                {withinMs: START_WITHIN_MS});
        } catch (error) {
            if (!isMissing(error))
                throw error;
            this._tell({presence: Presence.MISSING});
        } finally {
            if (this._state.presence === Presence.STARTING)
                this._tell({presence: Presence.ABSENT});
        }
    }

    /** Whether the bus could start it, where it does not run. */
    async _lookForIt() {
        await callBus('ListActivatableNames', null, this._cancellable, {
            hear: ([names]) => {
                if ([Presence.ABSENT, Presence.MISSING].includes(this._state.presence))
                    this._tell({presence: names.includes(NAME) ? Presence.ABSENT : Presence.MISSING});
            },
        }).catch(quiet);
    }

    async _askEfficiency(method, signature, values) {
        const session = this._session;
        const {path, iface} = OBJECTS.efficiency;
        try {
            await call(session?.owner ?? NAME, path, iface, method, new GLib.Variant(signature, values),
                this._cancellable);
        } catch (error) {
            if (session && isTimeout(error))
                this._miss(session, error);
            throw error;
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
        if (this._state.presence === Presence.STARTING)
            return;
        this._tell(NOTHING);
        this._lookForIt();
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
        const reload = () => this._loadBackends(session).catch(quiet);
        const {fleet, thermal} = OBJECTS;
        session.subscriptions.push(this._follow(session, 'efficiency'));
        for (const member of ['InterfacesAdded', 'InterfacesRemoved'])
            listen(OBJECT_MANAGER, member, ROOT, null, reload);
        listen(fleet.iface, 'BackendStatusChanged', fleet.path, null, () => {
            if (!session.measured.backends) // else its properties have been heard already
                reload();
        });
        if (!this._throttling)
            return;
        for (const [member, isThrottling] of [['ThrottlingStarted', true], ['ThrottlingStopped', false]]) {
            listen(thermal.iface, member, thermal.path, null,
                (_path, [id]) => this._tellThrottling(session, id, isThrottling));
        }
    }

    _listen(session, iface, member, path, arg0, heard) {
        return this._bus.signal_subscribe(session.owner, iface, member, path, arg0, Gio.DBusSignalFlags.NONE,
            (_bus, _sender, at, _iface, _member, parameters) => {
                if (session !== this._session)
                    return;
                heard(at, parameters.recursiveUnpack());
                this.retry(); // a silent daemon speaks again
            });
    }

    /** Follows the properties of an object, or those of all backends. */
    _follow(session, what) {
        if (what !== 'backends') {
            const {path, iface} = OBJECTS[what];
            return this._listen(session, PROPERTIES, 'PropertiesChanged', path, iface,
                (_path, change) => this._merge(session, what, change));
        }
        // Any path: an object manager's children are told apart by their interface.
        return this._listen(session, PROPERTIES, 'PropertiesChanged', null, BACKEND,
            (path, change) => this._mergeBackend(session, path, change));
    }

    _followMeasurements(session) {
        for (const what of [...this._objects, 'backends']) {
            if (this._watched[what] && !session.measured[what]) {
                session.measured[what] = this._follow(session, what);
                if (this._state.presence === Presence.RUNNING)
                    (what === 'backends' ? this._loadBackends(session) : this._loadObject(session, what)).catch(quiet);
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
                ...this._objects.map(what => this._loadObject(session, what).catch(quiet)),
            ]);
            session.isAwaited = false;
            this._tellOf(session, {presence: Presence.RUNNING, trouble: ''});
        } catch (error) {
            this._miss(session, error);
        }
    }

    /** Without the answer of a daemon that is stopped or busy: the next one is waited for, however long it takes. */
    async _miss(session, why) {
        this._tellOf(session, {presence: Presence.SILENT, trouble: messageOf(why)});
        if (session !== this._session || session.isAwaited || !isTimeout(why))
            return;
        session.isAwaited = true;
        await call(session.owner, ROOT, 'org.freedesktop.DBus.Peer', 'Ping', null, session.cancellable,
            {withinMs: GLib.MAXINT32}).catch(quiet);
        if (session === this._session)
            this._load(session);
    }

    async _loadObject(session, what) {
        const {path, iface} = OBJECTS[what];
        await call(session.owner, path, PROPERTIES, 'GetAll', new GLib.Variant('(s)', [iface]),
            session.cancellable, {hear: ([properties]) => this._tellOf(session, {[what]: properties})});
    }

    async _loadBackends(session) {
        await call(session.owner, ROOT, OBJECT_MANAGER, 'GetManagedObjects', null, session.cancellable, {
            hear: ([objects]) => {
                const backends = Object.fromEntries(Object.entries(objects)
                    .filter(([, interfaces]) => interfaces[BACKEND])
                    .map(([path, interfaces]) => [path, interfaces[BACKEND]]));
                this._tellOf(session, {backends, lacksBackends: false});
                if (this._withDetails)
                    Object.values(backends).forEach(({Id: id}) => this._loadDetails(session, id));
            },
        });
    }

    async _loadDetails(session, id) {
        const {path, iface} = OBJECTS.fleet;
        const tell = details => this._tellOf(session, {details: {...this._state.details, [id]: details}});
        // Of a failure, the row says it where the details would stand.
        await call(session.owner, path, iface, 'GetBackendDetails', new GLib.Variant('(s)', [id]),
            session.cancellable, {hear: ([details]) => tell(details)}).catch(error => tell({failure: messageOf(error)}));
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
        const {path, iface} = OBJECTS.thermal;
        let device = {};
        // The news is worth telling without the device's name, too.
        await call(session.owner, path, iface, 'GetHardwareState', new GLib.Variant('(s)', [id]),
            session.cancellable, {hear: ([told]) => (device = told)}).catch(quiet);
        await this._loadBackends(session).catch(quiet);
        const isThere = ({Hardware: kind, InFlight: n}) => kind === device.hardware && n > 0;
        const isWorking = Object.values(this._state.backends).some(isThere);
        if (session === this._session)
            this._throttling({id, name: device.name, reason: device.throttling, isThrottling, isWorking});
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
}
