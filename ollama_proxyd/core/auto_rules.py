"""Auto's rules: what each makes of the machine's state, in their order."""

from collections.abc import Callable
from dataclasses import dataclass

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.thresholds import AutoSettings, Past, Threshold, thresholds_past, where


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Auto makes of the machine's state: a mode, and one sentence with the numbers."""

    mode: Mode
    reason: str


AutoRule = Callable[[SystemState, AutoSettings, Past], Verdict | None]
"""One rule: a verdict, or None when it does not apply or its readings are unknown."""


def _battery_critical(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    return _battery_below(Threshold.CRITICAL_BATTERY, Mode.ULTRA_EFFICIENCY, system, settings, past)


def _battery_low(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    return _battery_below(Threshold.LOW_BATTERY, Mode.EFFICIENCY, system, settings, past)


def _battery_below(
    threshold: Threshold, mode: Mode, system: SystemState, settings: AutoSettings, past: Past
) -> Verdict | None:
    percent = known(system.battery_percent)
    if percent is None or threshold not in past:
        return None
    return Verdict(mode, f"on battery at {percent:g} %, {where(threshold, percent, settings)} %")


def _quiet_hours(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    return Verdict(Mode.QUIET, "these are the quiet hours") if known(system.quiet_hours) else None


def _hot(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    hottest_c = known(system.hottest_c)
    for threshold in (Threshold.HOT, Threshold.CRITICAL_HEAT):
        if hottest_c is not None and threshold in past:
            edge = where(threshold, hottest_c, settings)
            return Verdict(Mode.EFFICIENCY, f"the hottest device is at {hottest_c:g} °C, {edge} °C")
    return None


def _degraded(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    why = known(system.performance_degraded)
    return Verdict(Mode.EFFICIENCY, f"the machine holds its performance back: {why}") if why else None


def _loud(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    percent = known(system.fan_percent)
    if percent is None or Threshold.LOUD not in past:
        return None
    return Verdict(Mode.QUIET, f"the fan runs at {percent:g} %, {where(Threshold.LOUD, percent, settings)} %")


def _power_saver(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    if known(system.power_profile) != "power-saver":
        return None
    return Verdict(Mode.EFFICIENCY, "the power profile is power-saver")


def _on_battery(system: SystemState, _settings: AutoSettings, _past: Past) -> Verdict | None:
    if not known(system.on_battery):
        return None
    percent = known(system.battery_percent)
    return Verdict(Mode.BALANCED, "on battery" if percent is None else f"on battery at {percent:g} %")


def _on_mains(system: SystemState, settings: AutoSettings, past: Past) -> Verdict | None:
    if known(system.on_battery) is not False:
        return None
    if known(system.power_profile) == "performance":
        return Verdict(Mode.PERFORMANCE, "on mains power, and the power profile is performance")
    percent, full = known(system.battery_percent), Threshold.FULL_BATTERY
    if percent is None:
        return Verdict(Mode.BALANCED, "on mains power")
    charged = f"on mains power with the battery at {percent:g} %"
    if full in past:
        return Verdict(Mode.PERFORMANCE, f"{charged}, {where(full, percent, settings)} %")
    return Verdict(Mode.BALANCED, f"{charged}, not above {settings.full_battery_percent:g} %")


AUTO_RULES: tuple[AutoRule, ...] = (
    _battery_critical,
    _battery_low,
    _quiet_hours,
    _hot,
    _degraded,
    _loud,
    _power_saver,
    _on_battery,
    _on_mains,
)
"""Auto's rules; the first that applies decides."""

NOTHING_KNOWN = Verdict(Mode.BALANCED, "no sensor says anything yet")
_NOTHING_APPLIES = Verdict(Mode.BALANCED, "no reading asks for another mode")


def judge(system: SystemState, settings: AutoSettings, past: Past | None = None) -> Verdict:
    """What Auto makes of this moment, given the thresholds that are past; without them, of this moment alone."""
    if past is None:
        past = thresholds_past(system, settings)
    verdicts = (rule(system, settings, past) for rule in AUTO_RULES)
    fallback = _NOTHING_APPLIES if system.says_anything else NOTHING_KNOWN
    return next((verdict for verdict in verdicts if verdict), fallback)
