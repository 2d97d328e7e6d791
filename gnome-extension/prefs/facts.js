// SPDX-License-Identifier: MIT
// What was found on this machine, as titles and texts. Pure.
import {backendRow, endedRows, enginePhase} from '../backendView.js';
import {capital, energy, figure, fill, known, percent, power, speed, temperature, words, _} from '../format.js';
import {modeOf} from '../modes.js';
import {reasonOf, spoken} from '../reasons.js';

const HOUR_S = 3600;

export function daemonFacts({daemon, efficiency, routing}) {
    const tokens = new Set([efficiency.CurrentMode, efficiency.EffectiveMode].filter(Boolean));
    return facts({
        version: daemon.Version, endpoint: routing.Endpoint, reason: spoken(reasonOf(efficiency), efficiency),
        modes: [...tokens].map(token => modeOf(efficiency, token).label).join(' · '),
    }, {}, [
        [_('Version'), 'version'],
        [_('Address for programs'), 'endpoint'],
        [_('Mode'), 'modes'],
        [_('Reason'), 'reason'],
    ]);
}

export function backendFacts(backend) {
    const {failure, unknown, ...details} = backend.details;
    const failed = failure && {engine: {reason: failure}, endpoint: {reason: failure}};
    const {state, id, name, status} = backendRow(backend);
    return {
        id,
        title: name,
        subtitle: [hardware(backend.Hardware), status].join(' · '),
        trouble: state === 'down',
        enabled: backend.Enabled !== false,
        facts: facts({...details, ...backend}, {...unknown, ...backend.Unknown, ...failed}, [
            [_('Engine'), 'engine'],
            [_('Address'), 'endpoint'],
            [_('Models'), 'Models', models => models.join(', ') || _('None')],
            [_('Measured speed'), 'TokensPerSecond', speed],
            [_('Temperature'), 'TemperatureCelsius', temperature],
            [_('Power draw'), 'PowerWatts', power],
            [_('Sleep'), 'Asleep', sleep],
        ]),
    };
}

export function deviceFacts(device) {
    const degrees = known(device.temperature_celsius);
    const watts = known(device.power_watts);
    const measured = [...degrees === null ? [] : [temperature(degrees)], ...watts === null ? [] : [power(watts)]];
    const short = [hardware(device.hardware), ...device.asleep ? [_('asleep')] : measured];
    const turns = rpm => fill(_('{number} turns a minute'), {number: figure(rpm)});
    const isTurning = known(device.fan_rpm) !== null;
    return {
        id: device.id,
        title: words(device.name) || device.id,
        subtitle: [...short, ...device.throttling ? [_('throttled')] : []].join(' · '),
        trouble: Boolean(device.throttling),
        facts: facts({...device, throttling: device.throttling || _('No')}, device.unknown, [
            [_('Temperature'), 'temperature_celsius', temperature],
            [_('Power draw'), 'power_watts', power],
            known(device.fan_percent) === null && isTurning ? [_('Fan'), 'fan_rpm', turns]
                : [_('Fan'), 'fan_percent', part => [whole(part), ...isTurning ? [turns(device.fan_rpm)] : []].join(' · ')],
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
    return facts(state, state.Unknown, [
        [_('Power source'), 'OnBattery', isOn => isOn ? _('On battery') : _('Plugged in')],
        [_('Battery'), 'BatteryPercent', whole],
        [_('Power profile'), 'PowerProfile', name => profile[name] ?? name],
        [_('Quiet hours'), 'QuietHours', areNow => areNow ? _('Now') : _('Not now')],
    ]);
}

/** The engines that the daemon runs, by their models, and those that ended or did not load. */
export function engineFacts(fleet) {
    const served = ({phase}) => ['draining', 'stopping'].includes(phase) ? _('Stopping') : _('Ready');
    const running = (fleet.Engines ?? []).map(engine => ({title: engine.model, text: enginePhase(engine) || served(engine), by: engine.backend}));
    const ended = endedRows(fleet).map(({backend, name: title, status: text}) => ({title, text, by: `ended ${backend}`}));
    return [...running, ...ended].map(each => ({...each, id: `${each.by} ${each.title}`}));
}

/** The last 24 hours as shares of the costliest one, up to now; `timeOf` writes a time as the desktop does. */
export function dayFacts({hours, modes, history}, {backends, efficiency, nowS, timeOf}) {
    const names = new Map(Object.values(backends).map(each => [each.Id, backendRow(each).name]));
    const joules = new Map();
    hours.flatMap(hour => Object.entries(hour.backends)).forEach(([id, j]) => joules.set(id, (joules.get(id) ?? 0) + j));
    const ids = [...joules.keys()].sort((a, b) => joules.get(b) - joules.get(a));
    const most = Math.max(...hours.map(hour => hour.energy_joules));
    const total = [...joules.values()].reduce((sum, j) => sum + j, 0);
    const start = hours[0].unix_seconds;
    const at = unixSeconds => Math.max(0, (unixSeconds - start) / (HOUR_S * hours.length));
    const used = [...new Set(modes.map(each => each.effective_mode))];
    return {
        says: total > 0 ? fill(_('{energy} for answers, at most {most} an hour'), {energy: energy(total), most: energy(most)})
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

function hardware(kind) {
    return {
        npu: _('NPU'), igpu: _('Integrated GPU'), nvidia: _('NVIDIA GPU'), amdgpu: _('AMD GPU'),
        cpu: _('Processor'),
    }[kind] ?? _('Unknown hardware');
}

const sleep = isAsleep => isAsleep ? _('Asleep') : _('Awake');
const whole = part => percent(Math.round(part));
const gib = bytes => figure(bytes / 2 ** 30);

/** Rows of [title, key, how its value is written] as {id, title, text}; of what is not known, the reason. */
function facts(values, unknown, rows) {
    return rows.map(([title, key, write = String]) => {
        const {[key]: value} = values;
        const reason = unknown?.[key]?.reason;
        const isKnown = !reason && value !== undefined && value !== '' && !Number.isNaN(value);
        const why = fill(_('Unknown: {reason}'), {reason: reason || _('the daemon gives no reason')});
        return {id: title, title, text: isKnown ? write(value) : why};
    });
}
