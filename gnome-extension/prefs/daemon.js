// The daemon as the preferences see it: the only module here that knows D-Bus.
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

const NAME = 'ie.fio.OllamaProxy';
const PATH = '/ie/fio/OllamaProxy';
const BACKENDS = `${PATH}/Backends`;
const OBJECTS = ['Efficiency', 'Routing', 'SystemState', 'Thermal'];
const REQUIRED = 'Efficiency';
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager';
const SETTING_TYPES = {boolean: 'b', string: 's', number: 'd'};
const LIMIT_MS = 10000;

/** Follows the daemon over its starts and ends, and tells `changed` that something is new. */
export class Daemon {
    /** @param {() => void} changed called after every change of what is below */
    constructor(changed) {
        this._changed = changed;
        this._bus = Gio.DBus.session;
        this._closed = new Gio.Cancellable();
        this._subscriptions = [];
        this._forget();
        this._starting = false;
        this._watch = Gio.bus_watch_name_on_connection(this._bus, NAME, Gio.BusNameWatcherFlags.NONE,
            () => this._appeared(), () => this._vanished());
    }

    /** @returns {'looking'|'absent'|'starting'|'silent'|'there'} whether it can be spoken to */
    get state() {
        if (this._owned === false)
            return this._starting ? 'starting' : 'absent';
        if (this._failure)
            return 'silent';
        return this._loaded ? 'there' : 'looking';
    }

    /** @returns {string} why it is silent */
    get failure() {
        return this._failure;
    }

    /** @returns {?object} its settings; null when it is too old to have any that can be changed */
    get settings() {
        return this._properties.Efficiency.Settings ?? null;
    }

    /** @returns {string[]} which settings differ from the configuration */
    get changedSettings() {
        return this._properties.Efficiency.ChangedSettings ?? [];
    }

    /**
     * @param {'Efficiency'|'Routing'|'SystemState'|'Thermal'} object one of its objects
     * @returns {object} the properties of that object, as far as this daemon has them
     */
    properties(object) {
        return this._properties[object];
    }

    /** @returns {object[]} the properties of every backend, with what GetBackendDetails adds as `details` */
    get backends() {
        return [...this._backends.values()].map(each => ({...each, details: this._details.get(each.Id) ?? {}}));
    }

    /** Ask the bus to start it; rejects with the reason when it cannot be started. */
    async start() {
        this._starting = true;
        this._changed();
        try {
            await this._call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus.StartServiceByName',
                new GLib.Variant('(su)', [NAME, 0]), this._closed);
        } catch (error) {
            if (!this._closed.is_cancelled())
                throw new Error(sentence(error), {cause: error});
        } finally {
            this._starting = false;
            this._tell();
        }
    }

    /**
     * Change some settings, all or none; rejects with the daemon's sentence when it refuses.
     *
     * @param {object} entries the new values by the settings' names
     */
    async changeSettings(entries) {
        const typed = Object.entries(entries)
            .map(([key, value]) => [key, new GLib.Variant(SETTING_TYPES[typeof value], value)]);
        await this._ask('Efficiency', 'ChangeSettings', new GLib.Variant('(a{sv})', [Object.fromEntries(typed)]));
    }

    /**
     * Go back to the configuration's values.
     *
     * @param {string[]} keys the settings' names; none means all
     */
    async resetSettings(keys) {
        await this._ask('Efficiency', 'ResetSettings', new GLib.Variant('(as)', [keys]));
    }

    /** Let go of everything; nothing is told afterwards. */
    close() {
        this._closed.cancel();
        this._session.cancel();
        this._unsubscribe();
        Gio.bus_unwatch_name(this._watch);
    }

    _forget() {
        this._session?.cancel();
        this._session = new Gio.Cancellable();
        this._properties = Object.fromEntries(OBJECTS.map(name => [name, {}]));
        this._backends = new Map();
        this._details = new Map();
        this._loaded = false;
        this._failure = '';
    }

    _tell() {
        if (!this._closed.is_cancelled())
            this._changed();
    }

    _appeared() {
        this._forget();
        this._unsubscribe();
        this._owned = true;
        this._subscribe(PROPERTIES, 'PropertiesChanged', this._propertiesChanged);
        this._subscribe(OBJECT_MANAGER, 'InterfacesAdded', this._backendAdded);
        this._subscribe(OBJECT_MANAGER, 'InterfacesRemoved', this._backendRemoved);
        this._load(this._session);
    }

    _vanished() {
        this._forget();
        this._unsubscribe();
        this._owned = false;
        this._tell();
    }

    _subscribe(iface, signal, handler) {
        this._subscriptions.push(this._bus.signal_subscribe(NAME, iface, signal, null, null, Gio.DBusSignalFlags.NONE,
            (_bus, _sender, path, _iface, _signal, parameters) => {
                handler.call(this, path, parameters.recursiveUnpack());
                if (this._failure)
                    this._load(this._session); // it speaks again
                this._tell();
            }));
    }

    _unsubscribe() {
        this._subscriptions.splice(0).forEach(id => this._bus.signal_unsubscribe(id));
    }

    /** Signals are subscribed to before: what changes during the calls comes after their answers. */
    async _load(session) {
        try {
            await Promise.all([...OBJECTS.map(name => this._loadObject(name, session)), this._loadBackends(session)]);
            this._loaded = true;
            this._failure = '';
        } catch (error) {
            if (session.is_cancelled())
                return;
            this._failure = sentence(error);
        }
        if (!session.is_cancelled())
            this._tell();
    }

    async _loadObject(name, session) {
        let properties = {};
        try {
            [properties] = await this._call(NAME, `${PATH}/${name}`, `${PROPERTIES}.GetAll`,
                new GLib.Variant('(s)', [`${NAME}.${name}`]), session);
        } catch (error) {
            if (name === REQUIRED || session.is_cancelled())
                throw error;
            // An old daemon lacks it; what would stand there is unknown.
        }
        if (!session.is_cancelled())
            this._properties[name] = properties;
    }

    async _loadBackends(session) {
        const [objects] = await this._call(NAME, BACKENDS, `${OBJECT_MANAGER}.GetManagedObjects`, null, session);
        if (session.is_cancelled())
            return;
        for (const [path, interfaces] of Object.entries(objects))
            this._backendAdded(path, [path, interfaces]);
    }

    _backendAdded(_path, [path, interfaces]) {
        const backend = interfaces[`${NAME}.Backend`];
        if (!backend)
            return;
        this._backends.set(path, backend);
        this._loadDetails(backend.Id, this._session);
    }

    _backendRemoved(_path, [path]) {
        this._details.delete(this._backends.get(path)?.Id);
        this._backends.delete(path);
    }

    async _loadDetails(id, session) {
        let details;
        try {
            [details] = await this._call(NAME, BACKENDS, `${NAME}.Backends.GetBackendDetails`,
                new GLib.Variant('(s)', [id]), session);
        } catch (error) {
            details = {failure: sentence(error)}; // the row says it where the details would stand
        }
        if (session.is_cancelled())
            return;
        this._details.set(id, details);
        this._tell();
    }

    _propertiesChanged(path, [iface, values, invalidated]) {
        const name = iface.slice(NAME.length + 1);
        if (iface === `${NAME}.Backend` && this._backends.has(path))
            Object.assign(this._backends.get(path), values);
        else if (name in this._properties)
            Object.assign(this._properties[name], values);
        if (invalidated.length > 0)
            this._load(this._session);
    }

    async _ask(object, method, parameters) {
        try {
            await this._call(NAME, `${PATH}/${object}`, `${NAME}.${object}.${method}`, parameters, this._closed);
        } catch (error) {
            throw new Error(sentence(error), {cause: error});
        }
    }

    _call(name, path, method, parameters, cancellable) {
        const dot = method.lastIndexOf('.');
        return new Promise((resolve, reject) => {
            this._bus.call(name, path, method.slice(0, dot), method.slice(dot + 1), parameters, null,
                Gio.DBusCallFlags.NO_AUTO_START, LIMIT_MS, cancellable, (bus, result) => {
                    try {
                        resolve(bus.call_finish(result).recursiveUnpack());
                    } catch (error) {
                        reject(error);
                    }
                });
        });
    }
}

/** What the daemon said, without the name of the error before it. */
function sentence(error) {
    if (error instanceof GLib.Error)
        Gio.DBusError.strip_remote_error(error);
    return error.message;
}
