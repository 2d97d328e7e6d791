"""A timeout that counts only the time in which the event loop could have seen an answer."""

import asyncio
import math
from types import TracebackType

from ollama_proxyd.edges.plumbing.watch import Watch

_KEEPS_UP_S = 0.02
"""A timer that is later than this shows that the loop was busy."""
_MOST_EXTENSIONS = 5


class Patience:
    """The deadline of an `async with` block, in seconds of the loop's clock.

    A busy loop runs its timers before it looks at its sockets: an answer that has come would be too late (seen with
    1,000 connections made at once). So a timer that is late waits as long again as it was late, a few times.
    """

    __slots__ = ("_cancelling", "_due_s", "_ending", "_extensions_left", "_is_over", "_task", "_watch", "was_ended")

    def __init__(self, due_s: float, watch: Watch) -> None:
        self._due_s = due_s
        self._watch = watch
        self._extensions_left = _MOST_EXTENSIONS
        self._ending: asyncio.Handle | None = None
        self._is_over = False
        self.was_ended = False

    async def __aenter__(self) -> "Patience":
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        self._task, self._cancelling = task, task.cancelling()
        self._watch.enter(self, self._due_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._watch.leave(self)
        if self._ending is not None:
            self._ending.cancel()
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def due_s(self, now_s: float) -> float:
        """See watch.Wait."""
        late_s = now_s - self._due_s
        if late_s > _KEEPS_UP_S and self._extensions_left:
            self._extensions_left -= 1
            self._due_s += 2 * late_s
        elif late_s >= 0:
            self._give_up()
        return self._due_s if self._ending is None else math.inf

    def _give_up(self) -> None:
        """End the block by the means of `asyncio.timeout`, once what has come by now was looked at."""
        if self._ending is None:
            self._ending = self._watch.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        self._is_over = True
        self._task.cancel()

    def end(self) -> None:
        """End the block before its time."""
        self.was_ended = True
        self._give_up()
