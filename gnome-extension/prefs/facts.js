// SPDX-License-Identifier: MIT
// What was found on this machine, as titles and texts. Pure.
import {
    capital, dotted, energy, figure, fill, known, list, percent, power, speed, temperature, words, _,
} from '../format.js';
import {modeOf} from '../modes.js';
import {backendRow, endedRows, enginePhase} from '../viewModel.js';

const HOUR_S = 3600;

export const daemonFacts = ({daemon, routing}) => rowsOf({...daemon, ...routing}, {}, [
    [_('Version'), 'Version'],
    [_('Address for programs'), 'Endpoint'],
    [_('Energy today'), 'Today', energyToday],
]);

/** How much it is, how far that may be wrong, and from where it is known. */
function energyToday(today) {
    const withTails = name => today[`energy_${name}`] + (known(today[`idle_tail_${name}`]) ?? 0);
    const [joules, error] = ['joules', 'error_joules'].map(withTails);
    const sources = {measured: _('measured'), attributed: _('attributed'), estimated: _('estimated')};
    const share = joules > 0 && error >= 0 && `±${percent(Math.round(100 * error / joules))}`;
    return joules >= 0 ? dotted([energy(joules), share, sources[today.energy_source]]) : '';
}

export function backendFacts(backend) {
    const {state, id, name, status} = backendRow(backend);
    return {
        id, title: name,
        subtitle: dotted([hardware(backend.Hardware), status]),
        trouble: state === 'down',
        enabled: backend.Enabled !== false,
        facts: rowsOf(backend, backend.Unknown, [
            [_('Engine'), 'Engine'],
            [_('Address'), 'Endpoint'],
            [_('Models'), 'Models', models => models.join(', ') || _('None')],
            [_('Measured speed'), 'TokensPerSecond', speed],
            [_('Temperature'), 'TemperatureCelsius', temperature],
            [_('Power draw'), 'PowerWatts', power],
            [_('Sleep'), 'Asleep', sleep],
        ]),
    };
}

export function deviceFacts(device) {
    const {temperature_celsius: celsius, power_watts: watts} = device;
    const measured = device.asleep ? [_('asleep')] : [temperature(celsius), power(watts)];
    const turns = rpm => fill(_('{number} turns a minute'), {number: figure(rpm)});
    const turning = known(device.fan_rpm) === null ? '' : turns(device.fan_rpm);
    return {
        id: device.id, title: words(device.name) || device.id,
        subtitle: dotted([hardware(device.hardware), ...measured, device.throttling && _('throttled')]),
        trouble: Boolean(device.throttling),
        facts: rowsOf({...device, throttling: device.throttling || _('No')}, device.unknown, [
            [_('Temperature'), 'temperature_celsius', temperature],
            [_('Power draw'), 'power_watts', power],
            turning && known(device.fan_percent) === null ? [_('Fan'), 'fan_rpm', turns]
                : [_('Fan'), 'fan_percent', part => dotted([whole(part), turning])],
            [_('Use'), 'utilisation_percent', whole],
            [_('Memory in use'), known(device.memory_total_bytes) === null ? 'memory_total_bytes' : 'memory_used_bytes',
                used => fill(_('{used} of {total} GiB'), {used: gib(used), total: gib(device.memory_total_bytes)})],
            [_('Sleep'), 'asleep', sleep],
            [_('Throttled'), 'throttling'],
        ]),
    };
}

export function powerFacts(state) {
    const profile = {'power-saver': _('Power Saver'), 'balanced': _('Balanced'), 'performance': _('Performance')};
    return rowsOf(state, state.Unknown, [
        [_('Power source'), 'OnBattery', isOn => isOn ? _('On battery') : _('Plugged in')],
        [_('Battery'), 'BatteryPercent', whole],
        [_('Power profile'), 'PowerProfile', name => profile[name] ?? name],
        [_('Quiet hours'), 'QuietHours', areNow => areNow ? _('Now') : _('Not now')],
    ]);
}

/** The engines that the daemon runs, by their models, and those that ended or did not load. */
export function engineFacts(fleet) {
    const served = ({phase}) => ['draining', 'stopping'].includes(phase) ? _('Stopping') : _('Ready');
    const row = (by, title, text) => ({id: `${by} ${title}`, title, text});
    return [
        ...list(fleet.Engines).map(each => row(each.backend, each.model, enginePhase(each) || served(each))),
        ...endedRows(fleet).map(({backend, name, status}) => row(`ended ${backend}`, name, status)),
    ];
}

/** The last 24 hours as shares of the costliest one, up to now; `timeOf` writes a time as the desktop does. */
export function dayFacts({hours, modes, history}, {backends, efficiency, nowS, timeOf}) {
    const names = new Map(Object.values(backends).map(each => [each.Id, backendRow(each).name]));
    const joules = new Map();
    const add = ([id, more]) => joules.set(id, (joules.get(id) ?? 0) + more);
    hours.flatMap(hour => Object.entries(hour.backends)).forEach(add);
    const ids = [...joules.keys()].sort((a, b) => joules.get(b) - joules.get(a));
    const most = Math.max(...hours.map(hour => hour.energy_joules));
    const total = [...joules.values()].reduce((sum, j) => sum + j, 0);
    const used = [...new Set(modes.map(each => each.effective_mode))];
    const at = unixSeconds => Math.max(0, (unixSeconds - hours[0].unix_seconds) / (HOUR_S * hours.length));
    return {
        says: total > 0
            ? fill(_('{energy} for answers, at most {most} an hour'), {energy: energy(total), most: energy(most)})
            : capital(words(history.reason)) || _('No answers in these hours'),
        bars: hours.map(hour => ids.map((id, look) => ({look, share: most > 0 ? (hour.backends[id] ?? 0) / most : 0}))),
        stretches: modes.map(({effective_mode: mode, unix_seconds: from}, i) =>
            ({mode, from: at(from), to: at(modes[i + 1]?.unix_seconds ?? nowS)})),
        axis: hours.filter((_hour, i) => i % 6 === 0).map(hour => timeOf(hour.unix_seconds)),
        legend: [
            ...ids.map((id, look) => ({look, text: `${names.get(id) ?? id} ${energy(joules.get(id))}`})),
            ...used.map(mode => ({mode, text: modeOf(efficiency, mode).label})),
        ],
    };
}

const hardware = kind => ({
    npu: _('NPU'), igpu: _('Integrated GPU'), nvidia: _('NVIDIA GPU'), amdgpu: _('AMD GPU'), cpu: _('Processor'),
}[kind] ?? _('Unknown hardware'));

const sleep = isAsleep => isAsleep ? _('Asleep') : _('Awake');
const whole = part => percent(Math.round(part));
const gib = bytes => figure(bytes / 2 ** 30);

/** Rows of [title, key, how its value is written] as {id, title, text}; of what is not known, the reason. */
function rowsOf(values, unknown, rows) {
    return rows.map(([title, key, write = String]) => {
        const {[key]: value} = values;
        const reason = unknown?.[key]?.reason;
        const isKnown = !reason && value !== undefined && value !== '' && !Number.isNaN(value);
        const why = fill(_('Unknown: {reason}'), {reason: reason || _('the daemon gives no reason')});
        return {id: title, title, text: (isKnown && write(value)) || why};
    });
}
