"""How fast a temperature rises, from several readings."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable

WINDOW_S: Final = 30.0
"""Readings of this time count; where readings are rarer, the last MIN_SAMPLES do."""
MAX_AGE_S: Final = 100.0
MIN_SAMPLES: Final = 3


def slope(samples: Sequence[Reading[float]]) -> float | None:
    """The straight line through the samples that fits best, per second; None when they are too few or of one moment."""
    count = len(samples)
    if count < MIN_SAMPLES:
        return None
    mean_at_s = sum(sample.at_s for sample in samples) / count
    mean = sum(sample.value for sample in samples) / count
    spread = sum((sample.at_s - mean_at_s) ** 2 for sample in samples)
    if not spread:
        return None
    return sum((sample.at_s - mean_at_s) * (sample.value - mean) for sample in samples) / spread


class Trend:
    """The last temperatures of one device."""

    def __init__(self) -> None:
        self._samples: deque[Reading[float]] = deque()

    def step(self, temperature_c: Maybe[float]) -> Maybe[float]:
        """Degrees per second, with this reading the latest; a gap in the readings starts again."""
        samples = self._samples
        if isinstance(temperature_c, Unavailable):
            samples.clear()
            return temperature_c
        if not samples or temperature_c.at_s > samples[-1].at_s:
            samples.append(temperature_c)
        while temperature_c.at_s - samples[0].at_s > (WINDOW_S if len(samples) > MIN_SAMPLES else MAX_AGE_S):
            samples.popleft()
        rising = slope(samples)
        if rising is None:
            return Unavailable.because("readings_needed", count=MIN_SAMPLES)
        return Reading(rising, temperature_c.at_s)
