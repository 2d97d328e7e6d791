// SPDX-License-Identifier: MIT
// What was found on this machine, as titles and texts. Pure.
import {backendRow} from '../backendView.js';
import {capital, energy, figure, fill, known, percent, power, speed, temperature, words, _} from '../format.js';
import {modeOf} from '../modes.js';
import {reasonOf, spoken} from '../reasons.js';

const HOUR_S = 3600;

export function daemonFacts({daemon, efficiency, routing}) {
    const tooOld = _('this daemon is too old to say');
    const tokens = new Set([efficiency.CurrentMode, efficiency.EffectiveMode].filter(Boolean));
    const modes = [...tokens].map(token => modeOf(efficiency, token).label);
    return [
        fact(_('Version'), daemon.Version, tooOld),
        fact(_('Address for programs'), routing.Endpoint, tooOld),
        fact(_('Mode'), modes.join(' · '), tooOld),
        fact(_('Reason'), spoken(reasonOf(efficiency), efficiency), tooOld),
    ];
}

export function backendFacts(backend) {
    const {details} = backend;
    const why = key => backend.Unknown?.[key]?.reason;
    const missing = key => details.unknown?.[key]?.reason ?? details.failure;
    const row = backendRow(backend);
    return {
        id: row.id,
        title: row.name,
        subtitle: [hardware(backend.Hardware), row.status].join(' · '),
        trouble: row.state === 'down',
        enabled: backend.Enabled !== false,
        facts: [
            fact(_('Engine'), details.engine, missing('engine')),
            fact(_('Address'), details.endpoint, missing('endpoint')),
            fact(_('Models'), backend.Models && (backend.Models.join(', ') || _('None'))),
            fact(_('Measured speed'), measured(backend.TokensPerSecond, speed), why('TokensPerSecond')),
            fact(_('Temperature'), measured(backend.TemperatureCelsius, temperature), why('TemperatureCelsius')),
            fact(_('Power draw'), measured(backend.PowerWatts, power), why('PowerWatts')),
            fact(_('Sleep'), why('Asleep') ? null : sleep(backend.Asleep), why('Asleep')),
        ],
    };
}

export function deviceFacts(device) {
    const why = key => device.unknown?.[key]?.reason;
    const degrees = measured(device.temperature_celsius, temperature);
    const watts = measured(device.power_watts, power);
    const short = [hardware(device.hardware)];
    if (device.asleep)
        short.push(_('asleep'));
    else
        short.push(...[degrees, watts].filter(Boolean));
    if (device.throttling)
        short.push(_('throttled'));
    return {
        id: device.id,
        title: words(device.name) || device.id,
        subtitle: short.join(' · '),
        trouble: Boolean(device.throttling),
        facts: [
            fact(_('Temperature'), degrees, why('temperature_celsius')),
            fact(_('Power draw'), watts, why('power_watts')),
            fact(_('Fan'), fan(device), why('fan_percent') ?? why('fan_rpm')),
            fact(_('Use'), measuredPercent(device.utilisation_percent), why('utilisation_percent')),
            fact(_('Memory in use'), memory(device), why('memory_used_bytes') ?? why('memory_total_bytes')),
            fact(_('Sleep'), why('asleep') ? null : sleep(device.asleep), why('asleep')),
            fact(_('Throttled'), why('throttling') ? null : device.throttling || _('No'), why('throttling')),
        ],
    };
}

export function powerFacts(state) {
    const why = key => state.Unknown?.[key]?.reason;
    const source = state.OnBattery ? _('On battery') : _('Plugged in');
    const quiet = state.QuietHours ? _('Now') : _('Not now');
    const profile = {'power-saver': _('Power Saver'), 'balanced': _('Balanced'), 'performance': _('Performance')};
    return [
        fact(_('Power source'), why('OnBattery') || state.OnBattery === undefined ? null : source, why('OnBattery')),
        fact(_('Battery'), state.BatteryPercent < 0 ? null : measuredPercent(state.BatteryPercent), why('BatteryPercent')),
        fact(_('Power profile'), profile[state.PowerProfile] ?? state.PowerProfile, why('PowerProfile')),
        fact(_('Quiet hours'), why('QuietHours') || state.QuietHours === undefined ? null : quiet, why('QuietHours')),
    ];
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

const measured = (value, write) => known(value) === null ? null : write(value);
const measuredPercent = value => measured(value, each => percent(Math.round(each)));

function fan({fan_percent: part, fan_rpm: turnsPerMinute}) {
    const turns = measured(turnsPerMinute, rpm => fill(_('{number} turns a minute'), {number: figure(rpm)}));
    return [measuredPercent(part), turns].filter(Boolean).join(' · ');
}

function memory({memory_used_bytes: used, memory_total_bytes: total}) {
    if (known(used) === null || known(total) === null)
        return null;
    const [usedGib, totalGib] = [used, total].map(bytes => figure(bytes / 2 ** 30));
    return fill(_('{used} of {total} GiB'), {used: usedGib, total: totalGib});
}

/** A fact, or why it is not known. */
function fact(title, value, reason) {
    const isKnown = value !== undefined && value !== null && value !== '';
    const text = isKnown ? String(value) : fill(_('Unknown: {reason}'), {reason: reason || _('the daemon gives no reason')});
    return {id: title, title, text, known: isKnown};
}
