"""How long the first wish for memory waits for what other programs have of it."""

from collections.abc import Callable
from typing import Final

from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.tasks import Tasks

LOOK_AGAIN_S: Final = 2.0
PATIENCE_S: Final = 60.0


class Patience:
    """One wait at a time; while it lasts, it is looked again every few seconds, since no signal tells of memory."""

    def __init__(self, clock: Clock, tasks: Tasks, look: Callable[[], None]) -> None:
        self._clock = clock
        self._tasks = tasks
        self._look = look
        self._since_s: float | None = None
        self._looks_soon = False

    def may_wait(self) -> bool:
        """Whether the wait may go on; then it is looked at again soon."""
        now_s = self._clock.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s > PATIENCE_S:
            return False
        if not self._looks_soon:
            self._looks_soon = True
            self._tasks.start("room", self._look_again())
        return True

    def end(self) -> None:
        """The first wish was met, or dropped."""
        self._since_s = None

    async def _look_again(self) -> None:
        await self._clock.sleep(LOOK_AGAIN_S)
        self._looks_soon = False
        self._look()
