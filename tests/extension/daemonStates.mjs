// What the daemon can tell, as plain values, for the tests of the extension's pure modules.

import {NOTHING, Presence} from '../../gnome-extension/shared/daemon.js';

export const TABLE = [
    ['Performance', 'Performance', 'The fastest answer, whatever it costs'],
    ['Balanced', 'Balanced', 'A quick answer at a fair cost'],
    ['Efficiency', 'Efficiency', 'Less energy for a slower answer'],
    ['Quiet', 'Quiet', 'Slow fans and a cool lap'],
    ['Auto', 'Auto', 'Follows the battery, the heat and the power profile'],
    ['UltraEfficiency', 'Ultra Efficiency', 'Least energy, however slow'],
].map(([token, label, description]) => ({mode: token, label, description, icon: 'x', price_of_time_watts: 7}));

/** The object Efficiency in a mode. */
export function efficiency(current, effective = current, reason = 'as chosen', more = {}) {
    return {
        CurrentMode: current, EffectiveMode: effective, Reason: reason, Modes: TABLE, ActiveHolds: [], ...more,
    };
}

/** A backend that is up and idle, with what is different about this one. */
export function backend(more = {}) {
    return {
        Id: 'igpu', Name: 'iGPU', Hardware: 'igpu', Health: 'up', Reason: '', Models: ['qwen3:4b'], InFlight: 0,
        TokensPerSecond: NaN, PowerWatts: NaN, TemperatureCelsius: NaN, Unknown: {}, Asleep: false, TooHot: false,
        Enabled: true, ...more,
    };
}

/** Backends by the paths of their objects. */
export function fleet(...backends) {
    return Object.fromEntries(backends.map(each => [`/ie/fio/OllamaProxy/Backends/${each.Id}`, each]));
}

/** A daemon that runs, in Balanced, with what is different about this one. */
export function running(more = {}) {
    return {...NOTHING, presence: Presence.RUNNING, efficiency: efficiency('Balanced'), ...more};
}
