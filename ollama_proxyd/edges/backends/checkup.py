"""A health check that knows the difference between busy and down."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Probe

T = TypeVar("T")


class Checkup:
    """Asks a backend how it is; what it said last stands in for it while it is too busy to say."""

    __slots__ = ("_ask", "_in_flight", "_last")

    def __init__(self, ask: Callable[[], Awaitable[Probe]], in_flight: Callable[[], int]) -> None:
        self._ask = ask
        self._in_flight = in_flight
        self._last: Probe | None = None

    async def run(self) -> Probe:
        """How the backend is now; raises ProxyError when it is down."""
        try:
            self._last = await self._ask()
        except ProxyError as error:
            if self._last is None or not self._is_busy(error):
                raise
        return self._last

    def _is_busy(self, error: ProxyError) -> bool:
        """A server that works for us may be slow to say so; one that is full says so in an error."""
        slow = error.kind is ErrorKind.UPSTREAM_TIMEOUT and self._in_flight() > 0
        full = error.status == 429 or (error.status == 503 and "no slot" in (error.detail or "").lower())
        return slow or full


async def outcome_of(asking: Awaitable[T]) -> T | ProxyError:
    """The outcome, an error as a value, so that several questions at once all come to their end."""
    try:
        return await asking
    except ProxyError as error:
        return error
