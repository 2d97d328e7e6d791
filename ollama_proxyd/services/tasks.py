"""Background tasks with an owner and a name: the one place where an unexpected exception stops."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner; leaving the context cancels them and waits until they are gone."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Run `work` under a name; an exception that it did not expect is logged, and only this task ends."""
        task = asyncio.create_task(self._guard(name, work), name=f"{self._owner}.{name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # where it was cancelled before its first step
        return task

    async def _guard(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            log.exception("task %s.%s ended by an error that it did not expect", self._owner, name)

    async def finish(self, within_s: float) -> None:
        """Let what runs come to its end, and cancel what has not after a while."""
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)
        await self.close()

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def __aenter__(self) -> "Tasks":
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.close()
