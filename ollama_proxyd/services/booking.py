"""Enters each request into the books: where it went, and how it ended."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.comparison import compare
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.routed import RoutedError
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ledger import Ledger
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.request_trace import RequestTrace
from ollama_proxyd.services.session import Session


class Booking:
    """What is known of each request while it runs becomes what the books say of it."""

    def __init__(self, clock: Clock, activity: Activity, ledger: Ledger, governor: Governor) -> None:
        self._clock = clock
        self._activity = activity
        self._ledger = ledger
        self._governor = governor
        self._sessions: dict[Session, None] = {}

    @property
    def sessions(self) -> Sequence[Session]:
        """The requests under way, the oldest first."""
        return tuple(self._sessions)

    @contextmanager
    def of(self, request: Request, arrived_s: float | None = None) -> Iterator[RequestTrace]:
        """What is known of a request while it runs; how it ended is entered into the books."""
        trace = RequestTrace(request, self._clock, self._clock.monotonic() if arrived_s is None else arrived_s)
        session = Session(trace)
        self._sessions[session] = None
        self._activity.begin()
        try:
            with session:
                yield trace
            trace.error = None
        except ProxyError as error:
            trace.error = error.kind
            if trace.decision is None:
                raise
            raise RoutedError.of(error, trace.decision, trace.backend_id) from error
        except (asyncio.CancelledError, GeneratorExit):
            trace.error, trace.cancelled = None, True
            raise
        finally:
            del self._sessions[session]
            self._activity.end()
            if not trace.is_told:
                self.tell(trace, has_begun=False)
            self._ledger.record(trace.close())

    def tell(self, trace: RequestTrace, *, has_begun: bool) -> None:
        """Tell where the request went; where an answer has begun, also where Performance would have sent it."""
        if has_begun and trace.decision is not None and trace.assessment is not None:
            performance = self._governor.modes.value.table[Mode.PERFORMANCE]
            trace.instead = compare(trace.decision, trace.assessment, performance, self._ledger.loaded_instead)
        trace.is_told = has_begun
        self._ledger.note_routed(trace.routed())
