"""A timeout that counts only the time in which the event loop could have seen an answer."""

import asyncio
from types import TracebackType

_KEEPS_UP_S = 0.02
"""A timer that is later than this shows that the loop was busy."""
_MOST_EXTENSIONS = 5


class Patience:
    """The deadline of an `async with` block, in seconds of the loop's clock.

    A busy loop runs its timers before it looks at its sockets: an answer that has come would be too late (seen with
    1,000 connections made at once). So a timer that is late waits as long again as it was late, a few times.
    """

    __slots__ = ("_due_s", "_extensions_left", "_limit", "_loop", "_timer", "was_ended")

    def __init__(self, due_s: float) -> None:
        self._due_s = due_s
        self._extensions_left = _MOST_EXTENSIONS
        self.was_ended = False

    async def __aenter__(self) -> "Patience":
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()
        self._timer = self._loop.call_at(self._due_s, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self) -> None:
        late_s = self._loop.time() - self._due_s
        if late_s > _KEEPS_UP_S and self._extensions_left:
            self._extensions_left -= 1
            self._due_s += 2 * late_s
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._limit.reschedule(0.0)

    def end(self) -> None:
        """End the block before its time."""
        self.was_ended = True
        self._limit.reschedule(0.0)
