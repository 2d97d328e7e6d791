"""Counts what unloading early has saved: watts of an unused model, less what loading it again cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from ollama_proxyd.core.policy.residence import CARDS, Upkeep
from ollama_proxyd.core.readings import DeviceState, PowerState
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock


@dataclass(slots=True)
class _Running:
    """A model that the engine itself would still have in memory."""

    until_s: float
    costs: Upkeep
    device_id: str | None
    counts: bool
    seen_s: float
    saved_j: float = 0.0

    def saved_at(self, now_s: float) -> float:
        """What is saved by then."""
        seconds = max(min(now_s, self.until_s) - self.seen_s, 0.0)
        return self.saved_j + (self.costs.idle_w * seconds if self.counts else 0.0)


class TailSavings:
    """Joules saved since the daemon started, by estimate; below zero where models were soon loaded again.

    A card saves them only while it sleeps, as the kernel's runtime_status says, where that is known.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[object, _Running] = {}
        self._settled_j = 0.0
        self.unloads: Cell[int] = Cell(0)
        """How many models were unloaded before the engine itself would have done it."""

    @property
    def saved_j(self) -> float:
        """What is saved by now."""
        now_s = self._clock.monotonic()
        return self._settled_j + sum(each.saved_at(now_s) for each in self._running.values())

    def begin(self, at: object, until_s: float, costs: Upkeep, device: DeviceState | None = None) -> None:
        """A model has left the memory that the engine itself would keep until then."""
        self.end(at)
        now_s = self._clock.monotonic()
        if until_s > now_s:
            self.unloads.set(self.unloads.value + 1)
            device_id = None if device is None else device.id
            self._running[at] = _Running(until_s, costs, device_id, _saves(device), now_s)

    def look(self, devices: Sequence[DeviceState]) -> None:
        """See which cards sleep now."""
        now_s, known = self._clock.monotonic(), {each.id: each for each in devices}
        for each in self._running.values():
            each.saved_j, each.seen_s = each.saved_at(now_s), now_s
            each.counts = each.device_id is None or _saves(known.get(each.device_id))

    def end(self, at: object) -> None:
        """The model is asked for again; where the engine would still have it, loading again is the price."""
        running, now_s = self._running.pop(at, None), self._clock.monotonic()
        if running is not None:
            again_j = running.costs.again_j if now_s < running.until_s else 0.0
            self._settled_j += running.saved_at(now_s) - again_j


def _saves(device: DeviceState | None) -> bool:
    """Whether nothing in a device's memory saves anything now: a card that stays awake goes on drawing."""
    return device is None or device.hardware not in CARDS or device.power_state is not PowerState.AWAKE
