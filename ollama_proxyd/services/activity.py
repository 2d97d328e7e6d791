"""Knows whether somebody uses the proxy, over all reloads of the configuration."""

import asyncio

from ollama_proxyd.services.ports import Clock


class Activity:
    """Requests under way, and when the last one ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight = 0
        self._ended_s: float | None = None
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """A request begins."""
        self._in_flight += 1
        self._begun.set()

    def end(self) -> None:
        """A request ends; each `begin` is followed by exactly one `end`."""
        self._in_flight -= 1
        self._ended_s = self._clock.monotonic()
        if not self._in_flight:
            self._begun.clear()

    def within(self, seconds: float) -> bool:
        """Whether a request is under way, or was not longer ago than this."""
        if self._in_flight:
            return True
        return self._ended_s is not None and self._clock.monotonic() - self._ended_s <= seconds

    async def begun(self) -> None:
        """Wait until a request is under way."""
        await self._begun.wait()
