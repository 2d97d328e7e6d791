"""A reading that cannot be is no reading; a jump waits for a second reading that confirms it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from ollama_proxyd.core.readings import DEVICE_READINGS, DeviceState, Maybe, Reading, Sensed, Unavailable, known
from ollama_proxyd.core.trend import Trend

T = TypeVar("T", bound=float)

NO_SAMPLE_BEFORE: Final = Unavailable.because("no_reading_yet")


class Range(NamedTuple):
    """What a reading can be, both ends included, and the largest step from one reading to the next."""

    least: float
    most: float
    unit: str
    jump: float = math.inf


_PERCENT: Final = Range(0, 100, "%")
_CELSIUS: Final = Range(-20, 120, "°C", jump=40)
_BYTES: Final = Range(0, 2.0**60, "bytes")
RANGES: Final[Mapping[str, Range]] = {
    "temperature_c": _CELSIUS,
    "hottest_c": _CELSIUS,
    "critical_c": Range(20, 200, "°C"),
    "fan_percent": Range(0, 100, "%", jump=50),
    "fan_rpm": Range(0, 30_000, "rpm"),  # 65,535 is a controller that was read while it slept
    "power_w": Range(0.001, 2000, "W"),  # an awake device that draws nothing was not measured
    "energy_j": Range(0, math.inf, "J"),
    "utilisation_percent": _PERCENT,
    "cpu_percent": _PERCENT,
    "memory_used_bytes": _BYTES,
    "memory_total_bytes": _BYTES,
    "memory_available_bytes": _BYTES,
    "battery_percent": Range(0, 100, "%", jump=15),
    "battery_rate_w": Range(0, 500, "W"),
    "battery_full_wh": Range(0.1, 10_000, "Wh"),
    "time_to_empty_s": Range(0, 30 * 86400, "s"),
    "games": Range(0, 1000, "games"),
}
"""By field of DeviceState and SystemState."""

FORGOTTEN_S: Final = 100.0
"""After a longer silence anything may have happened, so that no step is too large."""
CONFIRMED_S: Final = 10.0
"""A sensor that speaks only of changes confirms what it said last by its silence."""
SAMPLE_S: Final = 1.0
"""What a sensor says again sooner is the same sample: one change can be told by several signals."""
SAMPLED: Final = frozenset({"temperature_c", "hottest_c", "fan_percent", "battery_percent"})
"""The readings of which Auto believes no single sample."""
_MISREAD: Final = frozenset({"file_unreadable", "file_empty", "file_not_a_number", "call_failed", "device_silent"})
"""The reasons of one sample that failed; a driver that was busy answers the next time."""
HOT_C: Final = 70.0
"""A fan that works turns at this temperature."""
MOST_OF_LIMIT: Final = 1.5
"""Short peaks pass a power limit; averages beyond this share of it are mistakes."""

_Key: TypeAlias = tuple[str, str]
"""The id of a device, "" for the machine, and the name of a part."""


def plausible(name: str, part: Maybe[T]) -> Maybe[T]:
    """The reading of a field, or the reason why its value cannot be."""
    allowed = RANGES.get(name)
    if allowed is None or isinstance(part, Unavailable) or allowed.least <= part.value <= allowed.most:
        return part
    return Unavailable.because(
        "out_of_range", value=part.value, unit=allowed.unit, least=allowed.least, most=allowed.most
    )


def within_power_limit(power_w: Maybe[float], limit_w: Maybe[float]) -> Maybe[float]:
    """The watts of a device, or the reason why it cannot draw as much."""
    if isinstance(power_w, Unavailable) or isinstance(limit_w, Unavailable) or limit_w.value <= 0:
        return power_w
    if power_w.value <= MOST_OF_LIMIT * limit_w.value:
        return power_w
    return Unavailable.because("beyond_power_limit", power_watts=power_w.value, limit_watts=limit_w.value)


class _Samples(NamedTuple):
    """The latest sample of a reading and the one before it."""

    latest: Reading[Any]
    before: Maybe[Any] = NO_SAMPLE_BEFORE

    def followed_by(self, reading: Reading[Any]) -> "_Samples":
        """These with another one."""
        is_same = reading.value == self.latest.value and reading.at_s - self.latest.at_s < SAMPLE_S
        return self if is_same else _Samples(reading, self.latest)


class Screen:
    """Passes what one sensor says, but for what cannot be.

    After a good reading one odd one does not count: the good one stands until the next. A jump counts once a second
    reading is near it. A fan that never turned says nothing while its device is hot.
    """

    def __init__(self) -> None:
        self._last: dict[_Key, Reading[Any]] = {}
        self._odd: dict[_Key, Reading[Any]] = {}
        """The reading that was not believed, while the one before it stands."""
        self._samples: dict[_Key, _Samples] = {}
        self._turned: set[str] = set()
        self._trends: dict[str, Trend] = {}

    def passed(self, said: Sensed) -> Sensed:
        """What counts of a report."""
        system = {name: self._part(("", name), part) for name, part in said.system.items()}
        self._trends = {device.id: self._trends.get(device.id) or Trend() for device in said.devices}
        return Sensed(system, tuple(self._device(device) for device in said.devices))

    @property
    def doubted_s(self) -> float | None:
        """When the oldest reading was taken that no second one has confirmed; None where all are confirmed."""
        alone = (each.latest for each in self._samples.values() if known(each.before) != each.latest.value)
        return min((reading.at_s for reading in (*self._odd.values(), *alone)), default=None)

    def _part(self, key: _Key, part: Maybe[Any]) -> Maybe[Any]:
        checked, last, odd = plausible(key[1], part), self._last.pop(key, None), self._odd.pop(key, None)
        if isinstance(part, Unavailable):
            if last is not None and odd is None and part.reason.code in _MISREAD:
                self._last[key], self._odd[key] = last, last
                return last
            self._samples.pop(key, None)
            return part
        is_near = isinstance(checked, Reading) and (_is_near(key[1], checked, last) or _is_near(key[1], checked, odd))
        if isinstance(checked, Reading):
            checked = self._sampled(key, checked)
            if last is None or is_near:
                self._last[key] = checked
                return checked
        if last is None:
            return checked
        if odd is None:
            self._last[key], self._odd[key] = last, part
            return last
        if isinstance(checked, Unavailable):
            return checked
        self._last[key], self._odd[key] = last, part
        return _jumped(key[1], last, checked)

    def _sampled(self, key: _Key, reading: Reading[Any]) -> Reading[Any]:
        """The reading with the sample before it, where Auto believes no single one."""
        if key[1] not in SAMPLED:
            return reading
        seen = self._samples.get(key)
        self._samples[key] = now = _Samples(reading) if seen is None else seen.followed_by(reading)
        return replace(reading, before=now.before)

    def _device(self, device: DeviceState) -> DeviceState:
        parts: dict[str, Any] = {name: self._part((device.id, name), getattr(device, name)) for name in DEVICE_READINGS}
        temperature_c = parts["temperature_c"]
        speeds = [each.value for each in (parts["fan_rpm"], parts["fan_percent"]) if isinstance(each, Reading)]
        if any(speeds):
            self._turned.add(device.id)
        elif speeds and device.id not in self._turned and _is_hot(temperature_c):
            never = Unavailable.because("fan_never_turned", temperature_celsius=temperature_c.value)
            parts |= {"fan_rpm": never, "fan_percent": never}
        if not isinstance(device.slope_c_per_s, Reading):
            parts["slope_c_per_s"] = self._trends[device.id].step(temperature_c)
        return replace(device, **parts)


def _is_near(name: str, reading: Reading[float], other: Reading[float] | None) -> bool:
    if other is None:
        return False
    allowed = RANGES.get(name)
    is_long_ago = reading.at_s - other.at_s > FORGOTTEN_S
    return allowed is None or is_long_ago or abs(reading.value - other.value) <= allowed.jump


def _is_hot(temperature_c: Maybe[float]) -> bool:
    return isinstance(temperature_c, Reading) and temperature_c.value >= HOT_C


def _jumped(name: str, before: Reading[float], reading: Reading[float]) -> Unavailable:
    return Unavailable.because("jumped", value=reading.value, before=before.value, unit=RANGES[name].unit)
