// SPDX-License-Identifier: MIT
// What was found on this machine, as titles and texts. Pure.
import {backendRow} from '../backendView.js';
import {capital, energy, figure, fill, known, percent, power, speed, temperature, words} from '../format.js';
import {modeOf} from '../modes.js';
import {reasonOf, spoken} from '../reasons.js';
import {_} from '../text.js';

const HOUR_S = 3600;

/** Turns the daemon's properties into facts. */
export class Facts {
    daemon({daemon, efficiency, routing}) {
        const tooOld = _('this daemon is too old to say');
        return [
            fact(_('Version'), daemon.Version, tooOld),
            fact(_('Address for programs'), routing.Endpoint, tooOld),
            fact(_('Mode'), this._mode(efficiency), tooOld),
            fact(_('Reason'), spoken(reasonOf(efficiency), efficiency), tooOld),
        ].map(each => this._withReason(each));
    }

    backend(backend) {
        const {details} = backend;
        const why = key => backend.Unknown?.[key]?.reason;
        const missing = key => details.unknown?.[key]?.reason ?? details.failure;
        const row = backendRow(backend);
        return {
            id: row.id,
            title: row.name,
            subtitle: [this.hardware(backend.Hardware), row.status].join(' · '),
            trouble: row.state === 'down',
            enabled: backend.Enabled !== false,
            facts: [
                fact(_('Engine'), details.engine, missing('engine')),
                fact(_('Address'), details.endpoint, missing('endpoint')),
                fact(_('Models'), this._models(backend.Models)),
                fact(_('Measured speed'), this._measured(backend.TokensPerSecond, speed), why('TokensPerSecond')),
                fact(_('Temperature'), this._measured(backend.TemperatureCelsius, temperature), why('TemperatureCelsius')),
                fact(_('Power draw'), this._measured(backend.PowerWatts, power), why('PowerWatts')),
                fact(_('Sleep'), why('Asleep') ? null : this._sleep(backend.Asleep), why('Asleep')),
            ].map(each => this._withReason(each)),
        };
    }

    device(device) {
        const why = key => device.unknown?.[key]?.reason;
        const degrees = this._measured(device.temperature_celsius, temperature);
        const watts = this._measured(device.power_watts, power);
        const short = [this.hardware(device.hardware)];
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
                fact(_('Fan'), this._fan(device), why('fan_percent') ?? why('fan_rpm')),
                fact(_('Use'), this._percent(device.utilisation_percent), why('utilisation_percent')),
                fact(_('Memory in use'), this._memory(device), why('memory_used_bytes') ?? why('memory_total_bytes')),
                fact(_('Sleep'), why('asleep') ? null : this._sleep(device.asleep), why('asleep')),
                fact(_('Throttled'), why('throttling') ? null : this._throttling(device), why('throttling')),
            ].map(each => this._withReason(each)),
        };
    }

    power(state) {
        const why = key => state.Unknown?.[key]?.reason;
        const source = state.OnBattery ? _('On battery') : _('Plugged in');
        const profile = {'power-saver': _('Power Saver'), 'balanced': _('Balanced'), 'performance': _('Performance')};
        return [
            fact(_('Power source'), why('OnBattery') || state.OnBattery === undefined ? null : source, why('OnBattery')),
            fact(_('Battery'), state.BatteryPercent < 0 ? null : this._percent(state.BatteryPercent),
                why('BatteryPercent')),
            fact(_('Power profile'), profile[state.PowerProfile] ?? state.PowerProfile, why('PowerProfile')),
            fact(_('Quiet hours'), why('QuietHours') || state.QuietHours === undefined ? null : this._now(state.QuietHours),
                why('QuietHours')),
        ].map(each => this._withReason(each));
    }

    /** The last 24 hours as shares of the costliest one, up to now; `timeOf` writes a time as the desktop does. */
    day({hours, modes, history}, {backends, efficiency, nowS, timeOf}) {
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

    hardware(kind) {
        return {
            npu: _('NPU'), igpu: _('Integrated GPU'), nvidia: _('NVIDIA GPU'), amdgpu: _('AMD GPU'),
            cpu: _('Processor'),
        }[kind] ?? _('Unknown hardware');
    }

    _withReason(each) {
        if (each.known)
            return each;
        const reason = each.text || _('the daemon gives no reason');
        return {...each, text: fill(_('Unknown: {reason}'), {reason})};
    }

    _mode(efficiency) {
        const tokens = new Set([efficiency.CurrentMode, efficiency.EffectiveMode].filter(Boolean));
        return [...tokens].map(token => modeOf(efficiency, token).label).join(' · ');
    }

    _sleep(asleep) {
        return asleep ? _('Asleep') : _('Awake');
    }

    _now(holds) {
        return holds ? _('Now') : _('Not now');
    }

    _throttling(device) {
        return device.throttling || _('No');
    }

    _models(names) {
        return names && (names.join(', ') || _('None'));
    }

    _measured(value, write) {
        const number = known(value);
        return number === null ? null : write(number);
    }

    _percent(value) {
        return this._measured(value, each => percent(Math.round(each)));
    }

    _fan({fan_percent: part, fan_rpm: turnsPerMinute}) {
        const turns = this._measured(turnsPerMinute, rpm =>
            fill(_('{number} turns a minute'), {number: figure(rpm)}));
        return [this._percent(part), turns].filter(Boolean).join(' · ');
    }

    _memory({memory_used_bytes: used, memory_total_bytes: total}) {
        if (known(used) === null || known(total) === null)
            return null;
        const [usedGib, totalGib] = [used, total].map(bytes => figure(bytes / 2 ** 30));
        return fill(_('{used} of {total} GiB'), {used: usedGib, total: totalGib});
    }
}

function fact(title, value, reason = '') {
    const isKnown = value !== undefined && value !== null && value !== '';
    return {title, text: isKnown ? String(value) : reason, known: isKnown};
}
