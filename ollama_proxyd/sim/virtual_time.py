"""An event loop on virtual time: where nothing is left to do, it is at once the time of the next timer.

Timers, `asyncio.timeout` and clocks that read `loop.time()` agree, and an hour takes a millisecond. Threads and sockets
cannot be hurried: the loop waits for them in real time.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
OWN_FILES = 1
"""What a loop watches by itself: the socket by which other threads wake it."""
FIRST_DAY, FIRST_MINUTE = date(2027, 1, 15), 9 * 60.0
"""The local time at which simulations begin."""
EPOCH_S = 1_800_000_000.0


class _Jumping(selectors.DefaultSelector):
    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.loop.threads or len(self.get_map()) > OWN_FILES:
            began_s = time.monotonic()
            ready = super().select(timeout)
            timeout = time.monotonic() - began_s
            self.loop.waited_s += timeout
        self.loop.now_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waited_s = 0.0
        """How long it waited for threads and sockets, in real time."""
        self.threads = 0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> Any:
        """Time does not jump while a thread works."""
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self.threads -= 1


def virtual_now_s() -> float:
    """The running loop's virtual time; 0 where no loop on virtual time runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return 0.0
    return loop.time() if isinstance(loop, VirtualTimeLoop) else 0.0


class VirtualClock:
    """The time of the running loop behind the Clock port."""

    def monotonic(self) -> float:
        """Seconds since the loop began."""
        return virtual_now_s()

    def slept_s(self) -> float:
        """A simulated machine never sleeps."""
        return 0.0

    def unix(self) -> float:
        """Seconds since 1970, UTC."""
        return EPOCH_S + virtual_now_s()

    def local_minute(self) -> float:
        """Minutes since midnight."""
        return (FIRST_MINUTE + virtual_now_s() / 60) % (24 * 60)

    def local_date(self) -> date:
        """The day."""
        return FIRST_DAY + timedelta((FIRST_MINUTE + virtual_now_s() / 60) // (24 * 60))

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)
