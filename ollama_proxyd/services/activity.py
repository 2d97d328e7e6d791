"""Whether the proxy is in use: requests under way, and when the last one ended."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock


class Activity:
    """Requests under way, and when the last one ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.in_flight = 0
        """How many requests are under way."""
        self._ended_s: float | None = None
        self._waiting = 0
        self._begun = asyncio.Event()
        self.is_busy: Cell[bool] = Cell(False)
        self._is_working: Cell[bool] = Cell(False)
        """Whether a request is under way that does not wait for a slot."""

    def begin(self) -> None:
        """A request begins."""
        self.in_flight += 1
        if self.in_flight == 1:
            self._begun.set()
            self.is_busy.renew(True)
        if not self._is_working.value:
            self._is_working.renew(True)

    def end(self) -> None:
        """A request ends; each `begin` is followed by exactly one `end`."""
        self.in_flight -= 1
        self._ended_s = self._clock.monotonic()
        if not self.in_flight:
            self._begun.clear()
            self.is_busy.renew(False)
        if self.in_flight <= self._waiting:
            self._is_working.set(False)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A request under way waits for a slot."""
        self._waiting += 1
        self._is_working.set(self.in_flight > self._waiting)
        try:
            yield
        finally:
            self._waiting -= 1
            self._is_working.set(self.in_flight > self._waiting)

    @contextmanager
    def absent(self) -> Iterator[None]:
        """A request under way is left out meanwhile: it needs nothing, so the machine may be as idle as without it."""
        self.end()
        try:
            yield
        finally:
            self.begin()

    def within(self, seconds: float) -> bool:
        """Whether a request is under way, or was not longer ago than this."""
        if self.in_flight:
            return True
        return self._ended_s is not None and self._clock.monotonic() - self._ended_s <= seconds

    async def begun(self) -> None:
        """Wait until a request is under way."""
        await self._begun.wait()

    async def quiet(self, within_s: float) -> bool:
        """Wait until no request is at work, at most for this time: whether none is. Those that wait are not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_working.until(lambda is_working: not is_working)
        return not self._is_working.value
