// What was found on this machine, as titles and texts; pure: the words come from outside, so that it runs without GTK.
import {backendRow} from '../backendView.js';
import {figure, fill, known, power, speed, temperature, words} from '../format.js';
import {modeLabel} from '../modes.js';
import {reasonOf, spoken} from '../reasons.js';

/**
 * @typedef {object} Fact
 * @property {string} title what it is
 * @property {string} text its value, or that it is not known and why
 * @property {boolean} known whether it is known
 */

/** Turns the daemon's properties into facts. */
export class Facts {
    /** @param {object} text what translates: {_, ngettext, locale} */
    constructor(text) {
        this._text = text;
        this._ = text._;
    }

    /**
     * @param {object} efficiency properties of Efficiency
     * @param {object} routing properties of Routing
     * @returns {Fact[]} about the daemon itself
     */
    daemon(efficiency, routing) {
        const {_} = this;
        const tooOld = _('this daemon is too old to say');
        return [
            fact(_('Version'), routing.Version, tooOld),
            fact(_('Address for programs'), routing.Endpoint, tooOld),
            fact(_('Mode'), this._mode(efficiency), tooOld),
            fact(_('Reason'), spoken(reasonOf(efficiency), efficiency, this._text), tooOld),
        ].map(each => this._withReason(each));
    }

    /**
     * @param {object} backend properties of one backend, with its `details`
     * @returns {{id: string, title: string, subtitle: string, trouble: boolean, facts: Fact[]}} all about it
     */
    backend(backend) {
        const {_} = this;
        const {details} = backend;
        const why = key => backend.Unknown?.[key]?.reason;
        const missing = key => details.unknown?.[key]?.reason ?? details.failure;
        const row = backendRow(backend, this._text);
        return {
            id: row.id,
            title: row.name,
            subtitle: [this.hardware(backend.Hardware), row.status || row.detail].join(' · '),
            trouble: row.state === 'down',
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

    /**
     * @param {object} device one entry of Thermal's Devices
     * @returns {{id: string, title: string, subtitle: string, trouble: boolean, facts: Fact[]}} all about it
     */
    device(device) {
        const {_} = this;
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

    /**
     * @param {object} state properties of SystemState
     * @returns {Fact[]} about battery, charger and power profile
     */
    power(state) {
        const {_} = this;
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

    /**
     * @param {string} kind the daemon's word for a class of device
     * @returns {string} the same for people
     */
    hardware(kind) {
        const {_} = this;
        return {
            npu: _('NPU'), igpu: _('Integrated GPU'), nvidia: _('NVIDIA GPU'), amdgpu: _('AMD GPU'),
            cpu: _('Processor'),
        }[kind] ?? _('Unknown hardware');
    }

    _withReason(each) {
        if (each.known)
            return each;
        const reason = each.text || this._('the daemon gives no reason');
        return {...each, text: fill(this._('Unknown: {reason}'), {reason})};
    }

    _mode(efficiency) {
        const tokens = new Set([efficiency.CurrentMode, efficiency.EffectiveMode].filter(Boolean));
        return [...tokens].map(token => modeLabel(efficiency, token, this._text)).join(' · ');
    }

    _sleep(asleep) {
        const {_} = this;
        return asleep ? _('Asleep') : _('Awake');
    }

    _now(holds) {
        const {_} = this;
        return holds ? _('Now') : _('Not now');
    }

    _throttling(device) {
        const {_} = this;
        return device.throttling || _('No');
    }

    _models(names) {
        return names && (names.join(', ') || this._('None'));
    }

    _measured(value, write) {
        const number = known(value);
        return number === null ? null : write(number, this._text);
    }

    _percent(value) {
        return this._measured(value, percent => fill(this._('{number} %'), {number: Math.round(percent)}));
    }

    _fan({fan_percent: percent, fan_rpm: turnsPerMinute}) {
        const turns = this._measured(turnsPerMinute, rpm =>
            fill(this._('{number} turns a minute'), {number: figure(rpm, this._text)}));
        return [this._percent(percent), turns].filter(Boolean).join(' · ');
    }

    _memory({memory_used_bytes: used, memory_total_bytes: total}) {
        if (known(used) === null || known(total) === null)
            return null;
        const [usedGib, totalGib] = [used, total].map(bytes => figure(bytes / 2 ** 30, this._text));
        return fill(this._('{used} of {total} GiB'), {used: usedGib, total: totalGib});
    }
}

function fact(title, value, reason = '') {
    const isKnown = value !== undefined && value !== null && value !== '';
    return {title, text: isKnown ? String(value) : reason, known: isKnown};
}
