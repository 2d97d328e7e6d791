"""The machine's own clocks behind the Clock port."""

import asyncio
import math
import time
from datetime import date
from functools import lru_cache


class SystemClock:
    """Real time; tests run on a loop with virtual time."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    """Seconds that never go back."""
    unix = staticmethod(time.time)
    """Seconds since 1970, UTC."""

    def slept_s(self) -> float:
        """How long the machine has slept, to a tenth of a second, in which two looks differ by nothing."""
        return round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic(), 1)

    def local_minute(self) -> float:
        """Minutes since midnight, local time."""
        now = time.localtime()
        return now.tm_hour * 60 + now.tm_min + now.tm_sec / 60

    def local_date(self) -> date:
        """Today, local time."""
        return _date_at(int(time.time()))

    async def sleep(self, seconds: float) -> None:
        """Wait, and not a moment less: who waits for the same millisecond wakes the machine together."""
        await asyncio.sleep(math.ceil(seconds * 1000) / 1000)


@lru_cache(maxsize=1)
def _date_at(unix_s: int) -> date:
    """The date that all requests of one second share."""
    return date.fromtimestamp(unix_s)  # noqa: DTZ012 - the local one is meant
