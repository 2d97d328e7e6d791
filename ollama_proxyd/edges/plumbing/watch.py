"""One timer for all that is waited for."""

import asyncio
import math
from typing import Protocol


class Wait(Protocol):
    """Something that may last too long."""

    def due_s(self, now_s: float) -> float:
        """When it could have lasted too long, by the loop's clock; one that has is ended, and is never due again."""


class Watch:
    """The waits that are under way, and the one timer for them all; none runs while there are none.

    A timer for each piece of an answer would cost more than reading it, and one for each answer half a kilobyte.
    """

    __slots__ = ("_due_s", "_timer", "loop", "waits")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf

    def enter(self, wait: Wait, due_s: float) -> None:
        """A wait begins, and is looked at then, at the latest."""
        self.waits.add(wait)
        self.look_by(due_s)

    def look_by(self, due_s: float) -> None:
        """Look at all waits then, at the latest."""
        if due_s < self._due_s:
            self._stop()
            self._due_s, self._timer = due_s, self.loop.call_at(due_s, self._look)

    def leave(self, wait: Wait) -> None:
        """A wait has ended."""
        self.waits.discard(wait)
        if not self.waits:
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s, self._timer = math.inf, None

    def _look(self) -> None:
        self._stop()
        now_s = self.loop.time()
        self.look_by(min([wait.due_s(now_s) for wait in self.waits], default=math.inf))
