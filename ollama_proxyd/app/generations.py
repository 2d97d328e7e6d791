"""The configuration at work and those before it whose requests have not ended yet."""

import asyncio

from ollama_proxyd.app.generation import Generation
from ollama_proxyd.services.tasks import Tasks


class Generations:
    """Swaps one in for the other; all of them together are the engines that the sleep of the machine concerns."""

    def __init__(self, first: Generation) -> None:
        self.current = first
        self._old: set[Generation] = set()
        self._draining = Tasks("generation")

    def swap(self, new: Generation) -> None:
        """New requests go to the new one; the old one ends with its requests."""
        old, self.current = self.current, new
        self._old.add(old)
        self._draining.start("drain", self._drain(old))

    def cut_off(self, why: str) -> None:
        """End every request under way, telling each client why."""
        for each in (self.current, *self._old):
            each.cut_off(why)

    async def reconnect(self) -> None:
        """Take no connection from before any more, and check every backend at once."""
        await self.current.reconnect()

    async def close(self, drain_s: float) -> None:
        """Let requests finish for a while, then end everything."""
        await asyncio.gather(self.current.close(drain_s), self._draining.finish(drain_s))

    async def _drain(self, old: Generation) -> None:
        try:
            await old.close()
        finally:
            self._old.discard(old)
