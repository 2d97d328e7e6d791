// SPDX-License-Identifier: MIT
// The daemon on the session bus, for the Shell and the preferences: what it told, as one plain value.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

import {BACKEND, call, callBus, isCancelled, isMissing, isTimeout, messageOf, NAME, OBJECT_MANAGER, OBJECTS, PART_OF, PROPERTIES, quiet, ROOT} from './call.js';
import {NOTHING, Presence} from './daemonState.js';

const START_WITHIN_MS = 30000;
const BACKENDS_WITHIN_MS = 60000;
const SETTING_TYPES = {boolean: 'b', string: 's', number: 'd'};

/** Follows the daemon from construction to `destroy`: it comes and goes, and nothing here waits for it. */
export class Daemon {
    constructor({withDetails = false, changed, throttling = null}) {
        this._withDetails = withDetails;
        this._changed = changed;
        this._throttling = throttling;
        this._bus = Gio.DBus.session;
        this._cancellable = new Gio.Cancellable();
        this._watched = [];
        this._subscriptions = new Map();
        this._owner = null;
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
        this._leave();
        this._changed = this._throttling = () => {};
    }

    /** Which parts of the state somebody looks at. They move all the time, so that the rest are not followed. */
    watch(parts) {
        this._watched = parts;
        if (this._owner)
            this._follow();
    }

    /** Asks a daemon that did not answer once more, and the bus whether a missing one is installed by now. */
    retry() {
        if (this._state.presence === Presence.SILENT)
            this._load();
        if (this._state.presence === Presence.MISSING)
            this._lookForIt();
    }

    setMode(token) {
        return this.ask('efficiency', 'SetMode', '(s)', [token]);
    }

    /** Holds a mode above the chosen one; the daemon keeps the time, or watches the charger where there is none. */
    hold(token, id, seconds = null) {
        return seconds === null ? this.ask('efficiency', 'HoldModeUntilCharged', '(sss)', [token, '', id])
            : this.ask('efficiency', 'HoldModeFor', '(sssu)', [token, '', id, seconds]);
    }

    changeSettings(entries) {
        const typed = Object.entries(entries)
            .map(([key, value]) => [key, new GLib.Variant(SETTING_TYPES[typeof value], value)]);
        return this.ask('efficiency', 'ChangeSettings', '(a{sv})', [Object.fromEntries(typed)]);
    }

    enable(path, isEnabled) {
        return this._askAt(path, PROPERTIES, 'Set', '(ssv)', [BACKEND, 'Enabled', new GLib.Variant('b', isEnabled)],
            {withinMs: BACKENDS_WITHIN_MS});
    }

    /** What the backends are asked for, which takes as long as the slowest of them. */
    askBackends(method) {
        const {path, iface} = OBJECTS.fleet;
        return this._askAt(path, iface, method, '()', [], {withinMs: BACKENDS_WITHIN_MS});
    }

    /** What the daemon answers by itself; where it does not, it is busy or stopped. */
    async ask(part, method, signature = '()', values = [], hear = undefined) {
        const {path, iface} = OBJECTS[part];
        const owner = this._owner;
        try {
            await this._askAt(path, iface, method, signature, values, {hear});
        } catch (error) {
            if (owner && owner === this._owner && isTimeout(error))
                this._miss(error);
            throw error;
        }
    }

    _askAt(path, iface, method, signature, values, how) {
        return call(this._owner ?? NAME, path, iface, method, new GLib.Variant(signature, values), this._cancellable, how);
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
    _lookForIt() {
        const hear = ([names]) => {
            if ([Presence.ABSENT, Presence.MISSING].includes(this._state.presence))
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
        this._isAwaited = false;
        this._tell({...NOTHING, presence: Presence.LOADING});
        this._subscribe();
        this._load();
    }

    _vanish() {
        this._leave();
        if (this._state.presence === Presence.STARTING)
            return;
        this._tell(NOTHING);
        this._lookForIt();
    }

    _leave() {
        this._here?.cancel();
        this._owner = null;
        this._subscriptions.forEach(id => this._bus.signal_unsubscribe(id));
        this._subscriptions.clear();
    }

    _subscribe() {
        const {fleet, thermal} = OBJECTS;
        const refresh = () => this._refresh().catch(quiet);
        for (const member of ['InterfacesAdded', 'InterfacesRemoved'])
            this._listen(member, OBJECT_MANAGER, member, ROOT, null, refresh);
        // Where the backends are followed, their properties have been heard already.
        this._listen('status', fleet.iface, 'BackendStatusChanged', fleet.path, null,
            () => this._subscriptions.has('backends') || refresh());
        if (!this._throttling)
            return;
        for (const [member, isThrottling] of [['ThrottlingStarted', true], ['ThrottlingStopped', false]]) {
            this._listen(member, thermal.iface, member, thermal.path, null,
                (_path, [id]) => this._tellThrottling(id, isThrottling));
        }
    }

    _listen(key, iface, member, path, arg0, heard) {
        const id = this._bus.signal_subscribe(this._owner, iface, member, path, arg0, Gio.DBusSignalFlags.NONE,
            (_bus, _sender, at, _iface, _member, parameters) => {
                heard(at, parameters.recursiveUnpack());
                this.retry(); // a silent daemon speaks again
            });
        this._subscriptions.set(key, id);
    }

    /** Follows the properties of the mode and of what is watched, and of nothing else any more. */
    _follow() {
        const wanted = ['efficiency', ...this._watched];
        const begun = wanted.filter(part => !this._subscriptions.has(part));
        for (const part of Object.keys(OBJECTS)) {
            if (!wanted.includes(part) && this._subscriptions.has(part)) {
                this._bus.signal_unsubscribe(this._subscriptions.get(part));
                this._subscriptions.delete(part);
            }
        }
        for (const part of begun) {
            const {path, iface} = OBJECTS[part];
            this._listen(part, PROPERTIES, 'PropertiesChanged', path, iface, (at, change) => this._merge(part, at, change));
        }
        if (begun.length > 0 && this._state.presence === Presence.RUNNING)
            this._refresh().catch(quiet);
    }

    async _load() {
        const {_here: here} = this;
        this._follow();
        try {
            await this._refresh();
            this._tell({presence: Presence.RUNNING, trouble: ''});
        } catch (error) {
            if (!here.is_cancelled())
                this._miss(error);
        }
    }

    /** Without the answer of a daemon that is stopped or busy: the next one is waited for, however long it takes. */
    async _miss(why) {
        const {_here: here} = this;
        this._tell({presence: Presence.SILENT, trouble: messageOf(why)});
        if (this._isAwaited || !isTimeout(why))
            return;
        this._isAwaited = true;
        await call(this._owner, ROOT, 'org.freedesktop.DBus.Peer', 'Ping', null, here, {withinMs: GLib.MAXINT32}).catch(quiet);
        if (here.is_cancelled())
            return;
        this._isAwaited = false; // the next silence is waited for as well
        this._load();
    }

    /** One call tells everything. */
    _refresh() {
        return call(this._owner, ROOT, OBJECT_MANAGER, 'GetManagedObjects', null, this._here, {
            hear: ([objects]) => {
                const news = {backends: {}};
                for (const [path, interfaces] of Object.entries(objects)) {
                    for (const [iface, properties] of Object.entries(interfaces)) {
                        if (PART_OF[iface] === 'backends')
                            news.backends[path] = properties;
                        else if (PART_OF[iface])
                            news[PART_OF[iface]] = properties;
                    }
                }
                this._tell(news);
                if (this._withDetails)
                    this._loadDetails(news.backends);
            },
        });
    }

    /** What the properties of the objects below the root do not tell. */
    _loadDetails(backends) {
        const {daemon, fleet} = OBJECTS;
        const ask = ({path, iface}, method, argument, hear) =>
            call(this._owner, path, iface, method, new GLib.Variant('(s)', [argument]), this._here, {hear});
        ask({...daemon, iface: PROPERTIES}, 'GetAll', NAME, ([properties]) => this._tell({daemon: properties})).catch(quiet);
        for (const {Id: id} of Object.values(backends)) {
            const tell = details => this._tell({details: {...this._state.details, [id]: details}});
            // Of a failure, the row says it where the details would stand.
            ask(fleet, 'GetBackendDetails', id, ([details]) => tell(details))
                .catch(error => isCancelled(error) || tell({failure: messageOf(error)}));
        }
    }

    _merge(part, path, [, changed, invalidated]) {
        const {[part]: before} = this._state;
        if (part !== 'backends')
            this._tell({[part]: {...before, ...changed}});
        else if (Object.hasOwn(before, path))
            this._tell({backends: {...before, [path]: {...before[path], ...changed}}});
        if (invalidated.length > 0)
            this._refresh().catch(quiet);
    }

    async _tellThrottling(id, isThrottling) {
        const {_here: here} = this;
        await this._refresh().catch(quiet); // the news is worth telling without the device's name, too
        if (here.is_cancelled())
            return;
        const {backends, thermal: {Devices: devices = []}} = this._state;
        const device = devices.find(each => each.id === id) ?? {};
        const isWorking = Object.values(backends).some(each => each.Hardware === device.hardware && each.InFlight > 0);
        this._throttling({id, name: device.name, reason: device.throttling, isThrottling, isWorking});
    }

    _tell(news) {
        const before = this._state;
        this._state = Object.freeze({...before, ...news});
        this._changed(before);
    }
}
