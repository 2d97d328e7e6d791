"""A source of readings as a polled sensor: read in a worker thread, because a driver may take its time."""

import threading
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from ollama_proxyd.core.readings import Sensed
from ollama_proxyd.edges.sensors.reading_thread import ReadingThread
from ollama_proxyd.services.ports import Clock

T = TypeVar("T")
RELIST_S: Final = 300.0
"""What the machine has is looked up this often even when no event says that it changed: containers hear none."""


class Sampler(Protocol):
    """Something that can be read, slowly perhaps; only one thread at a time calls it."""

    def sample(self, at_s: float) -> Sensed:
        """What it says now; never raises for sensor trouble."""

    def rediscover(self) -> None:
        """Devices have come or gone: look again before the next reading. Any thread may say so."""


class Discovered(Generic[T]):
    """What was found on the machine, kept until it is forgotten."""

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._found: T | None = None
        self._found_at_s = 0.0
        self._stale = threading.Event()

    def forget(self) -> None:
        """Look again when asked next."""
        self._stale.set()

    def now(self, at_s: float) -> T:
        """What there is."""
        if self._found is None or self._stale.is_set() or at_s - self._found_at_s >= RELIST_S:
            self._stale.clear()
            self._found, self._found_at_s = self._find(), at_s
        return self._found


class Sampled:
    """A PolledSensor; an abandoned reading goes on in its thread, and blocks a second one.

    Sensors that are asked together share a thread, so that the machine wakes once for them.
    """

    def __init__(self, name: str, clock: Clock, source: Sampler, thread: ReadingThread | None = None) -> None:
        self._thread = thread or ReadingThread()
        self.name = name
        self._clock = clock
        self._source = source
        self.rediscover = source.rediscover
        self._reading = threading.Lock()

    async def read(self) -> Sensed:
        """What it says now; raises TimeoutError while an earlier reading still hangs."""
        return await self._thread.do(self._sample)

    def _sample(self) -> Sensed:
        if not self._reading.acquire(blocking=False):
            raise TimeoutError(f"{self.name} has not answered an earlier reading")
        try:
            return self._source.sample(self._clock.monotonic())
        finally:
            self._reading.release()
