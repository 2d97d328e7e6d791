"""Has the requests that wait decided anew: when something has changed, or when time alone may change a choice."""

import asyncio
from collections.abc import Callable
from math import inf

from ollama_proxyd.core.admission import AdmissionQueue
from ollama_proxyd.services.ports import Clock

PAUSE_S = 0.25
"""From one look to the next at least: what changes meanwhile is looked at together."""
MOST_SHARE = 0.1
"""Looks take this share of the time at most: among a thousand backends one takes long, and all else waits for it."""
LONGEST_S = 15.0
"""So often it is looked at what no decision tells ahead: how long unused models stay changes over minutes."""


class QueueWatch:
    """Looks while requests wait, and only then."""

    def __init__(self, queue: AdmissionQueue, clock: Clock, look: Callable[[], None]) -> None:
        self._queue = queue
        self._clock = clock
        self._look_at_all = look
        self._rested_s = -inf
        """From when on it may look again."""
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = inf

    def note_change(self, _what: object = None) -> None:
        """Something has changed that choices rest on."""
        if self._queue:
            self._look_at(self._rested_s)

    def plan(self) -> None:
        """Look when the choice for the first of a line may change by time alone."""
        if self._queue:
            at_s = max(self._queue.look_at_s, self._rested_s)
            self._look_at(min(at_s, self._clock.monotonic() + LONGEST_S))

    def _look_at(self, at_s: float) -> None:
        if self._timer is not None:
            if at_s >= self._due_s:
                return
            self._timer.cancel()
        self._due_s = at_s
        left_s = max(at_s - self._clock.monotonic(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(left_s, self._look)

    def _look(self) -> None:
        self._timer, begun_s = None, self._clock.monotonic()
        self._rested_s = begun_s + PAUSE_S
        self._look_at_all()
        took_s = self._clock.monotonic() - begun_s
        self._rested_s = begun_s + min(max(PAUSE_S, took_s / MOST_SHARE), LONGEST_S)
        self._put_off()
        self.plan()

    def _put_off(self) -> None:
        """Where a look has changed what it looked at, look again once that took its share."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._look_at(self._rested_s)
