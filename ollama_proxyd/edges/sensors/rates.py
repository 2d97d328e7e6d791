"""The speed of a counter that only rises, from several readings."""

from typing import Final

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Raw

MIN_INTERVAL_S: Final = 0.1
"""Two readings nearer than this say more about the counter's steps than about the device."""
MAX_INTERVAL_S: Final = 300.0
"""After a longer silence a counter may have wrapped more than once."""


class Rate:
    """Follows one counter; `unit` is what one step of it is worth.

    wraps_at: where it starts again from 0, None for one that never does or does not say.
    """

    def __init__(self, unit: float = 1.0, wraps_at: Raw[int] | None = None) -> None:
        self._unit = unit
        self._wraps_at = wraps_at
        self._last: Reading[int] | None = None
        self._per_s: Maybe[float] = Unavailable.because("readings_needed", count=2)
        self.total = 0
        """How much the counter has risen since it was first read."""

    def step(self, counter: Raw[int], at_s: float) -> Maybe[float]:
        """Units per second since the last reading, given what the counter says now."""
        if isinstance(counter, Unavailable):
            return counter
        last = self._last
        if last is not None and at_s - last.at_s < MIN_INTERVAL_S:
            return self._per_s
        self._last = Reading(counter, at_s)
        self._per_s = (
            Unavailable.because("readings_needed", count=2) if last is None else self._between(last, self._last)
        )
        return self._per_s

    def _between(self, before: Reading[int], now: Reading[int]) -> Maybe[float]:
        risen = now.value - before.value
        if risen < 0 and isinstance(self._wraps_at, int):
            risen += self._wraps_at
        if risen < 0:
            return Unavailable.because("counter_reset")
        self.total += risen
        elapsed_s = now.at_s - before.at_s
        if elapsed_s > MAX_INTERVAL_S:
            return Unavailable.because("counter_too_old", age_seconds=elapsed_s)
        return Reading(risen * self._unit / elapsed_s, now.at_s)
