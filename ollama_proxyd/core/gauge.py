"""What a device's instruments say of the energy that it drew between two readings."""

from collections.abc import Sequence
from math import exp
from typing import Final, NamedTuple

from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, Reading, known
from ollama_proxyd.core.watts import MOST_W

COUNTER_ERROR: Final = 0.05
"""NVML promises 5 %; RAPL was found nearer (Khan et al., RAPL in Action, 2018)."""
SENSOR_ERROR: Final = 0.15
"""Watts that are read every two seconds miss what happens between."""
LONGEST_HOLD_S: Final = 60.0
"""A sensor's watts stand for no longer time than this."""
MOST_OFF: Final = 10.0
"""Work was never measured to need more, or less, than this multiple of what was expected."""
MEMORY_S: Final = 300.0
"""How long a time must be after which what was seen before it weighs a third."""


class Gauge(NamedTuple):
    """What a device says at a moment: a counter of joules, else watts."""

    at_s: float
    counter_j: float | None
    power_w: float | None


class Measured(NamedTuple):
    """Joules between two readings."""

    energy_j: float
    source: Source
    error_share: float


def between(last: Gauge, now: Gauge) -> Measured | None:
    """What was drawn from one reading to the next; None where they do not tell, as after a counter's reset."""
    seconds = now.at_s - last.at_s
    if seconds <= 0:
        return None
    if last.counter_j is not None and now.counter_j is not None:
        risen_j = now.counter_j - last.counter_j
        return Measured(risen_j, Source.MEASURED, COUNTER_ERROR) if 0 <= risen_j <= MOST_W * seconds else None
    if now.power_w is None or seconds > LONGEST_HOLD_S:
        return None
    return Measured(now.power_w * seconds, Source.ATTRIBUTED, SENSOR_ERROR)


def believed(last: Gauge | None, now: Gauge | None) -> Gauge | None:
    """What of a reading counts: a counter that stands still is broken or late, since who is awake draws something."""
    if now is None or last is None or now.counter_j is None or now.counter_j != last.counter_j:
        return now
    return None if now.power_w is None else now._replace(counter_j=None)


class Mean:
    """A mean that fades with time, and how far values were from it."""

    __slots__ = ("spread", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self.spread = 0.0

    def add(self, value: float, seconds: float) -> None:
        """One more value, which stands for some seconds."""
        if self.value is None:
            self.value = value
            return
        weight = 1 - exp(-seconds / MEMORY_S)
        self.spread += weight * (abs(value - self.value) - self.spread)
        self.value += weight * (value - self.value)


def gauge_of(devices: Sequence[DeviceState], now_s: float) -> Gauge | None:
    """The energy counter of the first that has one, else the watts of the first that tells them.

    The processor's package is spoken for by RAPL, else by the graphics of AMD's processors, which tell the power of the
    whole socket. Watts that did not change are those of now.
    """
    for device in sorted(devices, key=lambda each: each.hardware is not Hardware.CPU):
        if isinstance(device.energy_j, Reading):
            return Gauge(device.energy_j.at_s, device.energy_j.value, known(device.power_w))
    for device in devices:
        if isinstance(device.power_w, Reading):
            return Gauge(now_s, None, device.power_w.value)
    return None
