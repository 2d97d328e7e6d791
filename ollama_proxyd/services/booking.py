"""Enters each request into the books: where it went, and how it ended."""

import asyncio
from collections.abc import Sequence
from math import inf

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.comparison import compare
from ollama_proxyd.core.policy.decision import Decision, Ranking
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.routed import RoutedError
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.request_trace import RequestTrace

ENDED = "ended_by_admin"
WHOLE_EACH_S = 3.0
"""So often the history has what each alternative would have cost: of each request, where few ask."""


class Booking:
    """What is known of each request while it runs becomes what the books say of it."""

    def __init__(self, clock: Clock, activity: Activity, ledger: Ledger, governor: Governor) -> None:
        self._clock = clock
        self.activity = activity
        self._ledger = ledger
        self._governor = governor
        self.under_way: dict[Session, None] = {}
        self._next_whole_s = -inf
        """From when on a decision is settled with what all its alternatives would have cost."""

    @property
    def sessions(self) -> "Sequence[Session]":
        """The requests under way, the oldest first."""
        return tuple(self.under_way)

    def of(self, request: Request, arrived_s: float | None = None) -> "Session":
        """A request while it runs."""
        trace = RequestTrace(request, self._clock, self._clock.monotonic() if arrived_s is None else arrived_s)
        return Session(trace, self)

    def tell(self, trace: RequestTrace, *, has_begun: bool) -> None:
        """Tell where the request went; where an answer has begun, also where Performance would have sent it."""
        if has_begun and trace.decision is not None and trace.assessment is not None:
            performance = self._governor.modes.value.table[Mode.PERFORMANCE]
            trace.instead = compare(trace.decision, trace.assessment, performance, self._ledger.instead)
            if isinstance(trace.decision.ranked, Ranking):
                trace.decision = trace.attempts[-1].decision = self._settled(trace.decision)
        trace.assessment = None  # it holds a picture of the whole fleet, and an answer may take long
        trace.is_told = has_begun
        self._ledger.note_routed(trace.routed())

    def _settled(self, decision: Decision) -> Decision:
        """A decision without what it rests on; every now and then with what each alternative would have cost."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_whole_s:
            self._next_whole_s = now_s + WHOLE_EACH_S
            decision.alternatives(None)
        return decision.settled

    def close(self, trace: RequestTrace) -> None:
        """Enter a request that has ended."""
        if not trace.is_told:
            self.tell(trace, has_begun=False)
        self._ledger.record(trace.close())


class Session:
    """A context around the work on a request, in the task that works on it; somebody else may end it.

    How it ended is entered into the books. What fails after a decision tells of it.
    """

    __slots__ = ("_booking", "_is_ended", "_task", "trace")

    def __init__(self, trace: RequestTrace, booking: Booking) -> None:
        self.trace = trace
        self._booking = booking
        self._task = asyncio.current_task()
        self._is_ended = False

    def end(self) -> bool:
        """End it at once, whatever it waits for; whether that was not done before."""
        if self._task is None or self._is_ended:
            return False
        self._is_ended = self._task.cancel()
        return self._is_ended

    def __enter__(self) -> RequestTrace:
        self._booking.under_way[self] = None
        self._booking.activity.begin()
        return self.trace

    def __exit__(self, _kind: object, error: BaseException | None, _frames: object) -> None:
        booking, trace, told = self._booking, self.trace, None if error is None else self._meant(error)
        if told is None:
            trace.error = None
        elif isinstance(told, ProxyError):
            trace.error = told.kind
        elif isinstance(told, asyncio.CancelledError | GeneratorExit):
            trace.error, trace.cancelled = None, True
        del booking.under_way[self]
        booking.activity.end()
        booking.close(trace)
        if isinstance(told, ProxyError) and trace.decision is not None:
            raise RoutedError.of(told, trace.decision, trace.backend_id) from told
        if told is not None and told is not error:
            raise told from None

    def _meant(self, error: BaseException) -> BaseException:
        """What the client is told of a cancellation, which may come through the one who reads the answer."""
        is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        if not is_cancelled or not self._is_ended or self._task is None or self._task.uncancel():
            return error
        return ProxyError(ErrorKind.FORBIDDEN, "an administrator of this proxy ended the request", code=ENDED)
