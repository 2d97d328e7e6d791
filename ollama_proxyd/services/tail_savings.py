"""Counts what unloading early has saved: watts of an unused model, less what loading it again cost."""

from dataclasses import dataclass

from ollama_proxyd.core.policy.residence import Upkeep
from ollama_proxyd.services.ports import Clock


@dataclass(frozen=True, slots=True)
class _Running:
    """A model that the engine itself would still have in memory."""

    begun_s: float
    until_s: float
    costs: Upkeep


class TailSavings:
    """Joules saved since the daemon started, by estimate; below zero where models were soon loaded again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[object, _Running] = {}
        self._settled_j = 0.0
        self.unloads = 0
        """How many models were unloaded before the engine itself would have done it."""

    @property
    def saved_j(self) -> float:
        """What is saved by now."""
        now_s = self._clock.monotonic()
        return self._settled_j + sum(_saved_j(each, now_s) for each in self._running.values())

    def begin(self, at: object, until_s: float, costs: Upkeep) -> None:
        """A model has left the memory that the engine itself would keep until then."""
        self.end(at)
        now_s = self._clock.monotonic()
        if until_s > now_s:
            self.unloads += 1
            self._running[at] = _Running(now_s, until_s, costs)

    def end(self, at: object) -> None:
        """The model is asked for again; where the engine would still have it, loading again is the price."""
        running, now_s = self._running.pop(at, None), self._clock.monotonic()
        if running is not None:
            again_j = running.costs.load_j + running.costs.wake_j if now_s < running.until_s else 0.0
            self._settled_j += _saved_j(running, now_s) - again_j


def _saved_j(running: _Running, now_s: float) -> float:
    return running.costs.idle_w * (min(now_s, running.until_s) - running.begun_s)
