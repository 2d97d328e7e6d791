"""Runtime settings: Auto's numbers and the quiet hours, with their limits."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, TypeAlias

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import read_field, shown, wrong
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.options import Option, TimeOfDay, settings_of
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.values import value

NO_LENGTH = "is the start as well, which could mean always or never"
"""What is wrong with quiet hours that end when they begin."""
_AUTO = AutoSettings()

Value: TypeAlias = bool | float | str


@value
class Tuning:
    """These settings with the values that apply; times are local ones, written as in "22:00"."""

    quiet_hours_enabled: Annotated[bool, Option("efficiency.quiet_hours.enabled", "Whether there are quiet hours.")] = (
        True
    )
    quiet_hours_start: Annotated[TimeOfDay, Option("efficiency.quiet_hours.start", "Their start, in local time.")] = (
        "22:00"
    )
    quiet_hours_end: Annotated[
        TimeOfDay, Option("efficiency.quiet_hours.end", "Their end, in local time; it may be on the next day.")
    ] = "07:00"
    critical_battery_percent: float = _AUTO.critical_battery_percent
    low_battery_percent: float = _AUTO.low_battery_percent
    full_battery_percent: float = _AUTO.full_battery_percent

    def of_auto(self, auto: AutoSettings) -> AutoSettings:
        """Auto's numbers with these among them."""
        return replace(auto, **{key: getattr(self, key) for key in _AUTO_KEYS})

    def with_auto(self, auto: AutoSettings) -> "Tuning":
        """These settings with those of Auto's numbers that are among them."""
        return replace(self, **{key: getattr(auto, key) for key in _AUTO_KEYS})


_AUTO_KEYS = ("critical_battery_percent", "low_battery_percent", "full_battery_percent")
KEYS = tuple(each.name for each in fields(Tuning))
_TAKES = {each.name: each.takes for owner in (Tuning, AutoSettings) for each in settings_of(owner) if each.name in KEYS}


def change(base: Tuning, changes: Mapping[str, Any]) -> Tuning:
    """The settings with some changed; raises ProxyError that names the key at fault and says what is allowed."""
    values: dict[str, Any] = {key: read(key, value) for key, value in changes.items()}
    tuning = replace(base, **values)
    if why := battery_contradiction(tuning.critical_battery_percent, tuning.low_battery_percent):
        raise wrong("critical_battery_percent", why)
    if tuning.quiet_hours_enabled and tuning.quiet_hours_start == tuning.quiet_hours_end:
        why = f"{tuning.quiet_hours_end} {NO_LENGTH}; set quiet_hours_enabled to false for never"
        raise wrong("quiet_hours_end", why)
    return tuning


def read(key: str, value: Any) -> Value:
    """A value as the setting has it; raises ProxyError that names the key and says what is allowed."""
    check_key(key)
    known: Value = read_field(_TAKES[key], value, key)
    return known


def check_key(key: str) -> None:
    """The key of a setting; raises ProxyError that names those that there are."""
    if key not in KEYS:
        message = f"{shown(key)} is not a setting that can be changed here; the settings are: {', '.join(KEYS)}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param=key)


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
