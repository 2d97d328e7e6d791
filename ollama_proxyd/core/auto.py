"""The Auto mode as a pure step: it changes when the machine does, not twice in a short time, and at once to protect."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from ollama_proxyd.core.modes import THRIFT, Mode, ModeSetting, ModeTable, row_in_force
from ollama_proxyd.core.readings import Reading, SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.thresholds import NOTHING_PAST, TABLE, AutoSettings, Past, Threshold, edge, thresholds_past
from ollama_proxyd.core.values import value


@value
class Verdict:
    """What Auto makes of the machine's state."""

    mode: Mode
    reason: Reason


AutoRule = Callable[[SystemState, AutoSettings, Past], Verdict | None]
"""One rule: a verdict, or None when it does not apply or its readings are unknown."""


class _Told(NamedTuple):
    """How a threshold is told: the codes beyond its limit and short of it, and the names of the values."""

    beyond: str
    still: str
    value: str
    limit: str


_BATTERY = _Told("battery_low", "battery_still_low", "battery_percent", "limit_percent")
_HEAT = _Told("hot", "still_hot", "temperature_celsius", "limit_celsius")
_FAN = _Told("fan_loud", "fan_still_loud", "fan_percent", "limit_percent")


def _past(
    threshold: Threshold, mode: Mode, told: _Told, system: SystemState, settings: AutoSettings, past: Past
) -> Verdict | None:
    """The mode while a threshold is past."""
    value = TABLE[threshold].reading(system)
    if value is None or threshold not in past:
        return None
    is_beyond, limit = edge(threshold, value, settings)
    return Verdict(mode, Reason(told.beyond if is_beyond else told.still, **{told.value: value, told.limit: limit}))


def _quiet_hours(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    return Verdict(Mode.QUIET, Reason("quiet_hours")) if known(system.quiet_hours) else None


_BY_CHOICE = "high-operating-temperature"
"""What tuned-ppd also says where turbo is off since its own power-saver profile switched it off (tuned#876)."""


def _degraded(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    why = known(system.performance_degraded)
    if why == _BY_CHOICE and known(system.power_profile) == "power-saver":
        return None
    return Verdict(Mode.EFFICIENCY, Reason("performance_degraded", detail=why)) if why else None


def _power_saver(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    if known(system.power_profile) != "power-saver":
        return None
    return Verdict(Mode.EFFICIENCY, Reason("power_saver_profile"))


def _on_battery(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    if not known(system.on_battery):
        return None
    return Verdict(Mode.BALANCED, Reason("on_battery", battery_percent=known(system.battery_percent)))


CHARGED = ("fully-charged", "pending-charge")
"""UPower's words for a battery that is not charged further: it is full, or at its charge limit."""


def _on_mains(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    if known(system.on_battery) is not False:
        return None
    if known(system.power_profile) == "performance":
        return Verdict(Mode.PERFORMANCE, Reason("performance_profile"))
    percent, full = known(system.battery_percent), Threshold.FULL_BATTERY
    if (known(system.battery_state) or "") in CHARGED:
        return Verdict(Mode.PERFORMANCE, Reason("battery_charged", battery_percent=percent))
    if percent is None:
        return Verdict(Mode.BALANCED, Reason("on_mains"))
    mode, code, limit = Mode.BALANCED, "battery_not_full", settings.full_battery_percent
    if full in past:
        is_above, limit = edge(full, percent, settings)
        mode, code = Mode.PERFORMANCE, "battery_full" if is_above else "battery_still_full"
    return Verdict(mode, Reason(code, battery_percent=percent, limit_percent=limit))


AUTO_RULES: tuple[AutoRule, ...] = (
    partial(_past, Threshold.CRITICAL_BATTERY, Mode.ULTRA_EFFICIENCY, _BATTERY),
    partial(_past, Threshold.LOW_BATTERY, Mode.EFFICIENCY, _BATTERY),
    _quiet_hours,
    partial(_past, Threshold.HOT, Mode.EFFICIENCY, _HEAT),
    partial(_past, Threshold.CRITICAL_HEAT, Mode.EFFICIENCY, _HEAT),
    _degraded,
    partial(_past, Threshold.LOUD, Mode.QUIET, _FAN),
    _power_saver,
    _on_battery,
    _on_mains,
)
"""Auto's rules; the first that applies decides."""

NOTHING_KNOWN = Verdict(Mode.BALANCED, Reason("no_reading_yet"))
_NOTHING_APPLIES = Verdict(Mode.BALANCED, Reason("nothing_applies"))


def judge(system: SystemState, settings: AutoSettings, past: Past | None = None) -> Verdict:
    """What Auto makes of this moment, given the thresholds that are past; without them, of this moment alone."""
    if past is None:
        past = thresholds_past(system, settings)
    verdicts = (rule(system, settings, past) for rule in AUTO_RULES)
    fallback = _NOTHING_APPLIES if system.says_anything else NOTHING_KNOWN
    return next((verdict for verdict in verdicts if verdict), fallback)


PROTECTS = frozenset({Threshold.CRITICAL_BATTERY, Threshold.CRITICAL_HEAT})
"""What a thriftier mode does not wait for."""


@value
class AutoState:
    """What Auto has made of the machine so far.

    `reason` is true at the time of the last step. `changed_s` is when the mode changed last, None before the first
    change. `due_s` is when a change that waits will be made, None where none waits.
    """

    mode: Mode = NOTHING_KNOWN.mode
    reason: Reason = NOTHING_KNOWN.reason
    past: Past = NOTHING_PAST
    changed_s: float | None = None
    due_s: float | None = None


AT_FIRST = AutoState()
AS_CHOSEN = Reason("as_chosen")
AS_ASKED = Reason("as_asked")
NONE_CHOSEN = Reason("none_chosen")
_HEEDED = (
    "on_battery",
    "battery_percent",
    "battery_state",
    "hottest_c",
    "fan_percent",
    "power_profile",
    "performance_degraded",
    "quiet_hours",
)
"""What of the machine counts for Auto and for nothing else."""


def step(state: AutoState, system: SystemState, now_s: float, settings: AutoSettings) -> AutoState:
    """What Auto makes of the machine now; `now_s` never goes back."""
    system, past = _confirmed(system, settings, state.past)
    verdict = judge(system, settings, past)
    if verdict.mode is state.mode:
        return AutoState(state.mode, verdict.reason, past, state.changed_s)
    due_s = now_s if state.changed_s is None else state.changed_s + settings.dwell_s
    if now_s >= due_s or _must_protect(state.mode, verdict.mode, past):
        return AutoState(verdict.mode, verdict.reason, past, now_s)
    reason = Reason(
        "mode_change_pending",
        mode=state.mode.value,
        dwell_seconds=settings.dwell_s,
        next_mode=verdict.mode.value,
        reason=verdict.reason,
    )
    return replace(state, reason=reason, past=past, due_s=due_s)


_SAMPLED = ("battery_percent", "hottest_c", "fan_percent")


def _confirmed(system: SystemState, settings: AutoSettings, before: Past) -> tuple[SystemState, Past]:
    """The machine as two samples in a row agree on it: a threshold is passed, and left, by both or not at all."""
    parts = {name: getattr(system, name) for name in _SAMPLED}
    samples: dict[str, Any] = {
        name: part.before for name, part in parts.items() if isinstance(part, Reading) and part.before
    }
    if not samples:
        return system, thresholds_past(system, settings, before)
    earlier = replace(system, **samples)
    now, then = (thresholds_past(each, settings, before) for each in (system, earlier))
    past = (now & then) | (before & (now | then))
    return system if past == now else earlier, past


def choose(chosen: Mode, system: SystemState, table: ModeTable, auto: AutoSettings) -> ModeSetting:
    """What a choice means at this moment alone, without memory of the moments before."""
    if chosen is not Mode.AUTO:
        return ModeSetting(chosen, chosen, AS_CHOSEN, table[chosen])
    verdict = judge(system, auto)
    return ModeSetting(chosen, verdict.mode, verdict.reason, row_in_force(chosen, verdict.mode, table))


def imagined(setting: ModeSetting, why: Reason, system: SystemState | None) -> ModeSetting:
    """A setting that somebody only asks about; outside Auto it says which of the imagined readings do not count."""
    if setting.wanted is Mode.AUTO:
        return setting
    said = [] if system is None else [name for name in _HEEDED if known(getattr(system, name)) is not None]
    if said:
        why = Reason("counts_in_auto_only", reason=why, imagined=", ".join(said))
    return replace(setting, reason=why)


def _must_protect(before: Mode, after: Mode, past: Past) -> bool:
    return bool(PROTECTS & past) and THRIFT.index(after) > THRIFT.index(before)
