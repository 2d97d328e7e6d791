"""One try at one backend: the request counts as under way there from the start until it is closed."""

import asyncio
from collections.abc import AsyncGenerator

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.fleet import Fleet


class Attempt:
    """The events of one backend's answer, held back until the first that means something."""

    __slots__ = ("_backend_id", "_events", "_lease", "queued")

    def __init__(self, fleet: Fleet, request: Request, ranked: Ranked) -> None:
        self._backend_id = ranked.backend_id
        self._lease = fleet.lease(ranked.backend_id)
        self.queued = self._lease.is_queued
        self._events: AsyncGenerator[Event, None] = self._lease.backend.answer(request, ranked.model)

    async def begin(self, time_left_s: float | None) -> tuple[Accepted, Event]:
        """Wait for the backend's first words, at most `time_left_s`; raises ProxyError when they do not come."""
        try:
            async with asyncio.timeout(time_left_s):
                accepted = await anext(self._events)
                first = await anext(self._events)
        except TimeoutError:
            message = f"backend {self._backend_id} did not begin to answer before deadline_ms"
            raise ProxyError(
                ErrorKind.UPSTREAM_TIMEOUT, message, param="deadline_ms", code="deadline_exceeded"
            ) from None
        except StopAsyncIteration:
            message = f"backend {self._backend_id} ended its answer before it began"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message) from None
        if not isinstance(accepted, Accepted):
            raise TypeError(f"backend {self._backend_id} answered before it accepted: {accepted!r}")
        return accepted, first

    @property
    def events(self) -> AsyncGenerator[Event, None]:
        """The events after the first."""
        return self._events

    async def close(self) -> None:
        """End the work upstream, if it still goes on."""
        with self._lease:
            await self._events.aclose()
