"""The thresholds that Auto watches: each is left further on than it was entered, so that noise is no news."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, NamedTuple, TypeAlias

from ollama_proxyd.core.options import NotNegative, Option, Percent, Positive, Within
from ollama_proxyd.core.readings import SystemState, known
from ollama_proxyd.core.values import value

_AUTO = "efficiency.auto."


@value
class AutoSettings:
    """The numbers that Auto's rules compare with."""

    critical_battery_percent: Annotated[
        Percent, Option(_AUTO, "On battery below this charge, in percent, Auto takes UltraEfficiency at once.")
    ] = 20.0
    low_battery_percent: Annotated[
        Percent, Option(_AUTO, "On battery below this charge, in percent, Auto takes Efficiency.")
    ] = 50.0
    full_battery_percent: Annotated[
        Percent, Option(_AUTO, "On mains power above this charge, in percent, Auto takes Performance.")
    ] = 80.0
    battery_margin_percent: Annotated[Percent, Option(_AUTO, "Hysteresis of the three charges, in percent.")] = 3.0
    hot_c: Annotated[Positive, Option(_AUTO, "Above this temperature, in degrees Celsius, Auto takes Efficiency.")] = (
        75.0
    )
    critical_c: Annotated[
        Positive, Option(_AUTO, "Above this temperature, in degrees Celsius, Auto takes Efficiency at once.")
    ] = 90.0
    heat_margin_c: Annotated[NotNegative, Option(_AUTO, "Hysteresis of the two temperatures, in degrees Celsius.")] = (
        5.0
    )
    loud_fan_percent: Annotated[Percent, Option(_AUTO, "Above this fan speed, in percent, Auto takes Quiet.")] = 70.0
    fan_margin_percent: Annotated[Percent, Option(_AUTO, "Hysteresis of the fan speed, in percent.")] = 10.0
    dwell_s: Annotated[
        float, Within(0, 3600), Option(_AUTO, "Minimum seconds in a mode, unless battery or heat turn critical.")
    ] = 30.0


class Threshold(Enum):
    """What can be past its limit."""

    CRITICAL_BATTERY = "critical battery"
    LOW_BATTERY = "low battery"
    FULL_BATTERY = "full battery"
    HOT = "hot"
    CRITICAL_HEAT = "critical heat"
    LOUD = "loud"


Past: TypeAlias = frozenset[Threshold]
"""The thresholds that were passed and not left again."""

NOTHING_PAST: Past = frozenset()


class Row(NamedTuple):
    """Which reading a threshold is about, its limit, and how far the reading must come back."""

    reading: Callable[[SystemState], float | None]
    limit: str
    margin: str
    """Limit and margin are fields of AutoSettings."""
    rises: bool
    """Whether it is passed upwards."""

    def enter(self, settings: AutoSettings) -> float:
        """Where the threshold is passed."""
        limit: float = getattr(settings, self.limit)
        return limit

    def leave(self, settings: AutoSettings) -> float:
        """Where the threshold is left again."""
        margin: float = getattr(settings, self.margin)
        return self.enter(settings) - margin if self.rises else self.enter(settings) + margin

    def is_beyond(self, value: float, edge: float) -> bool:
        """Whether a value is past an edge in the direction of this threshold."""
        return value > edge if self.rises else value < edge


def _discharging(system: SystemState) -> float | None:
    return known(system.battery_percent) if known(system.on_battery) is True else None


def _on_mains(system: SystemState) -> float | None:
    return known(system.battery_percent) if known(system.on_battery) is False else None


def _hottest(system: SystemState) -> float | None:
    return known(system.hottest_c)


TABLE: dict[Threshold, Row] = {
    Threshold.CRITICAL_BATTERY: Row(_discharging, "critical_battery_percent", "battery_margin_percent", rises=False),
    Threshold.LOW_BATTERY: Row(_discharging, "low_battery_percent", "battery_margin_percent", rises=False),
    Threshold.FULL_BATTERY: Row(_on_mains, "full_battery_percent", "battery_margin_percent", rises=True),
    Threshold.HOT: Row(_hottest, "hot_c", "heat_margin_c", rises=True),
    Threshold.CRITICAL_HEAT: Row(_hottest, "critical_c", "heat_margin_c", rises=True),
    Threshold.LOUD: Row(lambda system: known(system.fan_percent), "loud_fan_percent", "fan_margin_percent", rises=True),
}


def thresholds_past(system: SystemState, settings: AutoSettings, before: Past = NOTHING_PAST) -> Past:
    """Which thresholds are past now, given those that were; a reading that is unknown is past none."""
    return frozenset(each for each, row in TABLE.items() if _is_past(row, system, settings, each in before))


def _is_past(row: Row, system: SystemState, settings: AutoSettings, was_past: bool) -> bool:
    value = row.reading(system)
    if value is None:
        return False
    return row.is_beyond(value, row.leave(settings) if was_past else row.enter(settings))


def edge(threshold: Threshold, value: float, settings: AutoSettings) -> tuple[bool, float]:
    """Whether a reading past a threshold is beyond its limit, and the number that counts now."""
    row = TABLE[threshold]
    limit = row.enter(settings)
    is_beyond = row.is_beyond(value, limit)
    return is_beyond, limit if is_beyond else row.leave(settings)
