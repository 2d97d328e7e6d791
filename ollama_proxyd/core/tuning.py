"""Runtime settings: Auto's numbers and the quiet hours, with their limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from ollama_proxyd.core.fields import Reader, WrongValueError, between, flag, shown
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.thresholds import AutoSettings

NO_LENGTH = "is the start as well, which could mean always or never"
"""What is wrong with quiet hours that end when they begin."""
_AUTO = AutoSettings()

Value: TypeAlias = bool | float | str


@dataclass(frozen=True, slots=True)
class Tuning:
    """These settings with the values that apply; times are local ones, written as in "22:00"."""

    quiet_hours_enabled: bool = True
    quiet_hours_start: str = "22:00"
    quiet_hours_end: str = "07:00"
    critical_battery_percent: float = _AUTO.critical_battery_percent
    low_battery_percent: float = _AUTO.low_battery_percent
    full_battery_percent: float = _AUTO.full_battery_percent

    def of_auto(self, auto: AutoSettings) -> AutoSettings:
        """Auto's numbers with these among them."""
        return replace(
            auto,
            critical_battery_percent=self.critical_battery_percent,
            low_battery_percent=self.low_battery_percent,
            full_battery_percent=self.full_battery_percent,
        )


KEYS = tuple(field.name for field in fields(Tuning))


def change(base: Tuning, changes: Mapping[str, Any]) -> Tuning:
    """The settings with some changed; raises ValueError that names the key at fault and says what is allowed."""
    values: dict[str, Any] = {key: read(key, value) for key, value in changes.items()}
    tuning = replace(base, **values)
    if why := battery_contradiction(tuning.critical_battery_percent, tuning.low_battery_percent):
        raise ValueError(f"critical_battery_percent {why}")
    if tuning.quiet_hours_enabled and tuning.quiet_hours_start == tuning.quiet_hours_end:
        why = f"quiet_hours_end {tuning.quiet_hours_end} {NO_LENGTH}; set quiet_hours_enabled to false for never"
        raise ValueError(why)
    return tuning


def read(key: str, value: Any) -> Value:
    """A value as the setting has it; raises ValueError that names the key and says what is allowed."""
    try:
        known: Value = _READERS[check_key(key)](value)
    except WrongValueError as error:
        raise ValueError(f"{key} {error}") from None
    return known


def check_key(key: str) -> str:
    """The key of a setting; raises ValueError that names those that there are."""
    if key not in _READERS:
        raise ValueError(f"{shown(key)} is not a setting that can be changed here; the settings are: {', '.join(KEYS)}")
    return key


def minute_of_day(time: str) -> int:
    """Minutes since midnight."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def battery_contradiction(critical_percent: float, low_percent: float) -> str:
    """What is wrong with a critical charge beside a low one, empty where nothing is."""
    if critical_percent < low_percent:
        return ""
    never = f"so {Mode.EFFICIENCY.value} would never be taken"
    return f"{critical_percent:g} is not below low_battery_percent ({low_percent:g}), {never}"


def _time(value: Any) -> str:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise WrongValueError(f'must be a time of day such as "22:00", not {shown(value)}')
    return value


_TIME = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")
_PERCENT = between(0, 100)
_READERS: Mapping[str, Reader] = {
    "quiet_hours_enabled": flag,
    "quiet_hours_start": _time,
    "quiet_hours_end": _time,
    "critical_battery_percent": _PERCENT,
    "low_battery_percent": _PERCENT,
    "full_battery_percent": _PERCENT,
}
