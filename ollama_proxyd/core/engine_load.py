"""What engines tell of their load, and what that means for one more request."""

from dataclasses import replace
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.memo import by_identity

FULL_CACHE = 0.95
"""From this share of a KV cache on a further request waits, or takes the room of one under way."""


class EngineLoad(NamedTuple):
    """The requests of all clients of an engine, and the share of its KV cache in use; None where it does not tell."""

    running: int | None = None
    waiting: int | None = None
    cache_share: float | None = None
    slots: int | None = None
    """How many requests it answers at once."""

    @property
    def is_told(self) -> bool:
        """Whether it tells anything."""
        return self != NOT_TOLD

    @property
    def queued(self) -> int:
        """How many requests are ahead of a new one; a full cache counts as one."""
        is_full = self.cache_share is not None and self.cache_share >= FULL_CACHE
        return max(self.waiting or 0, int(is_full))

    def wait_s(self, slots: int, each_s: float) -> float:
        """How long a new request waits, where each takes so long."""
        return self.queued * each_s / max(self.slots or self.running or slots, 1)


NOT_TOLD = EngineLoad()


class Saturation(NamedTuple):
    """From how many waiting requests, and from which share of its KV cache, an engine takes no work to spare."""

    waiting: int
    cache_share: float


class PickerLimits(NamedTuple):
    """How many endpoints are named, and from which load on work that can wait is refused."""

    endpoints: int
    saturation: Saturation


def is_saturated(view: BackendView, load: EngineLoad, limits: Saturation) -> bool:
    """Whether an engine is under heavy load; one that tells nothing is when its slots are taken."""
    if not load.is_told:
        return view.in_flight >= view.slots
    return (load.waiting or 0) >= limits.waiting or (load.cache_share or 0.0) >= limits.cache_share


@by_identity
def with_load(view: BackendView, load: EngineLoad) -> BackendView:
    """A backend with the requests of all its clients, where it tells of more than are known here."""
    told = (load.running or 0) + (load.waiting or 0)
    return view if told <= view.in_flight else replace(view, in_flight=told)
