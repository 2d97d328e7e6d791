"""Work in the background that waits for the charger, outside the queue, so that it holds no place before others."""

import asyncio
from typing import Any

from ollama_proxyd.core.deferral import longest_wait_s, why_not_deferred
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock

SOONEST_RETRY_S = 60.0
DEFERRED_FULL = "deferred_full"


class Deferral:
    """The requests that wait for the charger; to the rest of the daemon they are not there yet."""

    def __init__(self, system: Cell[SystemState], activity: Activity, clock: Clock) -> None:
        self._system = system
        self._activity = activity
        self._clock = clock
        self._ended: asyncio.Future[str] | None = None
        self.waiting: Cell[int] = Cell(0)
        """How many wait."""

    async def wait(self, hints: Hints, time_left_s: float | None, most: int) -> Reason | None:
        """Wait as a request asks, if at most so many do; how it ended, None for one that does not ask for it."""
        if hints.defer is None:
            return None
        if (at_once := why_not_deferred(self._system.value)) is not None:
            return at_once
        if self.waiting.value >= most:
            message = f"{most} requests wait for the charger already, the most that routing.queue.max_length allows"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=SOONEST_RETRY_S, code=DEFERRED_FULL)
        longest_s, begun_s = longest_wait_s(hints), self._clock.monotonic()
        if time_left_s is not None:
            longest_s = min(longest_s, time_left_s / 2)  # the answer needs time as well
        self.waiting.set(self.waiting.value + 1)
        try:
            with self._activity.absent():
                came = await self._charger_comes(longest_s)
        finally:
            self.waiting.set(self.waiting.value - 1)
        return Reason("defer_over" if came is None else came, waited_seconds=self._clock.monotonic() - begun_s)

    async def _charger_comes(self, within_s: float) -> str | None:
        """The code of why the wait is over, None where its time is; raises when the proxy stops."""
        if self._ended is None or self._ended.done():
            self._ended = asyncio.get_running_loop().create_future()
        ended = self._ended
        came = asyncio.ensure_future(self._system.until(lambda now: why_not_deferred(now) is not None))
        try:
            waited: tuple[asyncio.Future[Any], ...] = (came, ended)
            await asyncio.wait(waited, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            came.cancel()
        if ended.done():
            raise ProxyError(ErrorKind.UNAVAILABLE, ended.result())
        return "defer_charger_came" if came.done() and not came.cancelled() else None

    def refuse_all(self, why: str) -> None:
        """End the wait of every request."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)
