// SPDX-License-Identifier: MIT
// The daemon's state as one plain value. Pure: the Shell, the preferences and the tests read it.

/** MISSING: the bus cannot start it. LOADING: it runs and was asked for its state. SILENT: it did not answer. */
export const Presence = Object.freeze({
    MISSING: 'missing',
    ABSENT: 'absent',
    STARTING: 'starting',
    LOADING: 'loading',
    RUNNING: 'running',
    SILENT: 'silent',
});

/** What is known before anything is known. */
export const NOTHING = Object.freeze({
    presence: Presence.ABSENT,
    trouble: '', // why it is silent
    daemon: Object.freeze({}),
    efficiency: Object.freeze({}),
    routing: Object.freeze({}),
    fleet: Object.freeze({}),
    systemState: Object.freeze({}),
    thermal: Object.freeze({}),
    backends: Object.freeze({}), // properties by path
    details: Object.freeze({}), // answers of GetBackendDetails by backend
});
