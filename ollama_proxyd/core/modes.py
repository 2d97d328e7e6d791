"""The efficiency modes: rows of a table, and how Auto chooses among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from types import MappingProxyType

from ollama_proxyd.core.readings import SystemState, known


class Mode(Enum):
    """A mode's token, the same in and out everywhere; labels are separate."""

    PERFORMANCE = "Performance"
    BALANCED = "Balanced"
    EFFICIENCY = "Efficiency"
    QUIET = "Quiet"
    AUTO = "Auto"
    ULTRA_EFFICIENCY = "UltraEfficiency"


@dataclass(frozen=True, slots=True)
class ModeRow:
    """What a mode asks for.

    `price_of_time_w` is what one second of a person's waiting is worth, in watts. Limits are None where there is
    none; `max_fan_percent` and `max_temp_c` bound the device that would serve, `max_concurrency` the requests
    under way.
    """

    label: str
    description: str
    price_of_time_w: float
    max_power_w: float | None = None
    max_temp_c: float | None = None
    max_fan_percent: float | None = None
    max_concurrency: int | None = None


ModeTable = Mapping[Mode, ModeRow]


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """The mode in force: what was chosen, what Auto made of it, why (one sentence), and the row that applies."""

    chosen: Mode
    effective: Mode
    reason: str
    row: ModeRow


DEFAULT_TABLE: ModeTable = MappingProxyType(
    {
        Mode.PERFORMANCE: ModeRow(
            label="Performance",
            description="The fastest answer, whatever it costs",
            price_of_time_w=100.0,
        ),
        Mode.BALANCED: ModeRow(
            label="Balanced",
            description="A quick answer at a fair cost",
            price_of_time_w=7.0,
            max_power_w=60.0,
            max_temp_c=85.0,
            max_fan_percent=80.0,
        ),
        Mode.EFFICIENCY: ModeRow(
            label="Efficiency",
            description="Less energy for a slower answer",
            price_of_time_w=2.0,
            max_power_w=15.0,
            max_temp_c=75.0,
            max_fan_percent=60.0,
        ),
        Mode.QUIET: ModeRow(
            label="Quiet",
            description="Slow fans and a cool lap",
            price_of_time_w=2.0,
            max_power_w=15.0,
            max_temp_c=70.0,
            max_fan_percent=40.0,
        ),
        Mode.AUTO: ModeRow(
            label="Auto",
            description="Follows the battery, the heat and the power profile",
            price_of_time_w=7.0,  # shown only: a request is priced by the mode that Auto chose
        ),
        Mode.ULTRA_EFFICIENCY: ModeRow(
            label="Ultra Efficiency",
            description="The least energy that gives an answer",
            price_of_time_w=0.2,
            max_power_w=10.0,
            max_temp_c=65.0,
            max_fan_percent=30.0,
            max_concurrency=2,
        ),
    }
)

_SPELLINGS: Mapping[str, Mode] = {
    **{mode.value.lower(): mode for mode in Mode},
    "ultra efficiency": Mode.ULTRA_EFFICIENCY,
    "ultra-efficiency": Mode.ULTRA_EFFICIENCY,
    "ultra_efficiency": Mode.ULTRA_EFFICIENCY,
}


def parse_mode(text: str) -> Mode:
    """The mode that a person or a file names, without regard to case; raises ValueError that names what is allowed."""
    spelling = text.strip().lower()
    mode = _SPELLINGS.get(spelling)
    if mode is not None:
        return mode
    allowed = ", ".join(mode.value for mode in Mode)
    near = get_close_matches(spelling, _SPELLINGS, n=1, cutoff=0.4)
    hint = f"; did you mean {_SPELLINGS[near[0]].value}?" if near else ""
    raise ValueError(f"{text!r} is not an efficiency mode; allowed are {allowed}{hint}")


@dataclass(frozen=True, slots=True)
class AutoSettings:
    """The numbers that Auto's rules compare with."""

    critical_battery_percent: float = 20.0
    low_battery_percent: float = 50.0
    hot_c: float = 75.0
    loud_fan_percent: float = 70.0
    full_battery_percent: float = 80.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Auto makes of the machine's state: a mode, and one sentence with the numbers."""

    mode: Mode
    reason: str


AutoRule = Callable[[SystemState, AutoSettings], Verdict | None]
"""One rule: a verdict, or None when it does not apply or its readings are unknown."""


def _battery_critical(system: SystemState, settings: AutoSettings) -> Verdict | None:
    return _battery_below(system, settings.critical_battery_percent, Mode.ULTRA_EFFICIENCY)


def _battery_low(system: SystemState, settings: AutoSettings) -> Verdict | None:
    return _battery_below(system, settings.low_battery_percent, Mode.EFFICIENCY)


def _battery_below(system: SystemState, limit_percent: float, mode: Mode) -> Verdict | None:
    percent = known(system.battery_percent)
    if not known(system.on_battery) or percent is None or not percent < limit_percent:
        return None
    return Verdict(mode, f"on battery at {percent:g} %, below {limit_percent:g} %")


def _quiet_hours(system: SystemState, _settings: AutoSettings) -> Verdict | None:
    return Verdict(Mode.QUIET, "these are the quiet hours") if known(system.quiet_hours) else None


def _hot(system: SystemState, settings: AutoSettings) -> Verdict | None:
    hottest_c = known(system.hottest_c)
    if hottest_c is None or not hottest_c > settings.hot_c:
        return None
    return Verdict(Mode.EFFICIENCY, f"the hottest device is at {hottest_c:g} °C, above {settings.hot_c:g} °C")


def _degraded(system: SystemState, _settings: AutoSettings) -> Verdict | None:
    why = known(system.performance_degraded)
    return Verdict(Mode.EFFICIENCY, f"the machine holds its performance back: {why}") if why else None


def _loud(system: SystemState, settings: AutoSettings) -> Verdict | None:
    percent = known(system.fan_percent)
    if percent is None or not percent > settings.loud_fan_percent:
        return None
    return Verdict(Mode.QUIET, f"the fan runs at {percent:g} %, above {settings.loud_fan_percent:g} %")


def _power_saver(system: SystemState, _settings: AutoSettings) -> Verdict | None:
    if known(system.power_profile) != "power-saver":
        return None
    return Verdict(Mode.EFFICIENCY, "the power profile is power-saver")


def _on_battery(system: SystemState, _settings: AutoSettings) -> Verdict | None:
    if not known(system.on_battery):
        return None
    percent = known(system.battery_percent)
    return Verdict(Mode.BALANCED, "on battery" if percent is None else f"on battery at {percent:g} %")


def _on_mains(system: SystemState, settings: AutoSettings) -> Verdict | None:
    if known(system.on_battery) is not False:
        return None
    if known(system.power_profile) == "performance":
        return Verdict(Mode.PERFORMANCE, "on mains power, and the power profile is performance")
    percent, full = known(system.battery_percent), settings.full_battery_percent
    if percent is None:
        return Verdict(Mode.BALANCED, "on mains power")
    if percent > full:
        return Verdict(Mode.PERFORMANCE, f"on mains power with the battery at {percent:g} %, above {full:g} %")
    return Verdict(Mode.BALANCED, f"on mains power with the battery at {percent:g} %, not above {full:g} %")


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

_NOTHING_KNOWN = Verdict(Mode.BALANCED, "no sensor says anything yet")
_NOTHING_APPLIES = Verdict(Mode.BALANCED, "no reading asks for another mode")


def judge(system: SystemState, settings: AutoSettings) -> Verdict:
    """What Auto makes of this moment alone, without memory of the moments before."""
    verdicts = (rule(system, settings) for rule in AUTO_RULES)
    fallback = _NOTHING_APPLIES if system.says_anything else _NOTHING_KNOWN
    return next((verdict for verdict in verdicts if verdict), fallback)


def choose(chosen: Mode, system: SystemState, table: ModeTable, auto: AutoSettings) -> ModeSetting:
    """The mode in force for a choice at this moment, and the row that applies."""
    if chosen is not Mode.AUTO:
        return ModeSetting(chosen, chosen, "as chosen", table[chosen])
    verdict = judge(system, auto)
    return ModeSetting(chosen, verdict.mode, verdict.reason, table[verdict.mode])
