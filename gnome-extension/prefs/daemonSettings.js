// SPDX-License-Identifier: MIT
// What the rows show of the daemon's settings while a change is under way; pure.

/**
 * The daemon owns its settings; this holds what it last said, and what a person wants until the daemon has answered.
 * At most one change is under way; what is wanted meanwhile goes with the next one, the latest value only.
 */
export class DaemonSettings {
    constructor(send, refused, changed) {
        this._send = send;
        this._refused = refused;
        this._changed = changed;
        this._told = {};
        this._wanted = new Map();
        this._sending = null;
        this._closed = false;
    }

    /** The daemon says what its settings are. */
    told(settings) {
        this._told = settings;
    }

    shown(key) {
        return this._wanted.has(key) ? this._wanted.get(key) : this._told[key];
    }

    /** A person wants another value. */
    want(key, value) {
        if (this._closed || this.shown(key) === value)
            return Promise.resolve();
        this._wanted.set(key, value);
        this._sending ??= this._sendAll();
        return this._sending;
    }

    /** Nobody looks any more: answers that are still to come change nothing. */
    close() {
        this._closed = true;
    }

    async _sendAll() {
        try {
            while (this._wanted.size > 0 && !this._closed)
                await this._sendOnce(); // eslint-disable-line no-await-in-loop -- one change at a time
        } finally {
            this._sending = null;
        }
    }

    async _sendOnce() {
        const entries = Object.fromEntries(this._wanted);
        let refusal = null;
        try {
            await this._send(entries);
        } catch (error) {
            refusal = error;
        }
        if (this._closed)
            return;
        for (const [key, value] of Object.entries(entries)) {
            if (this._wanted.get(key) === value)
                this._wanted.delete(key);
        }
        if (refusal)
            this._refused(refusal);
        else
            this._told = {...this._told, ...entries}; // its signal comes later and may correct this
        this._changed();
    }
}
