"""A bus that several share: connected when one of them needs it, and again after it was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from dbus_fast import BusType

from ollama_proxyd.edges.plumbing.dbus import Bus, connect
from ollama_proxyd.services.ports import Clock

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class BusLine:
    """The way to one bus; all who hold it use the same connection."""

    def __init__(self, which: BusType | str, clock: Clock, *, takes_files: bool = False) -> None:
        self._which = which
        self._takes_files = takes_files
        self._clock = clock
        self._bus: Bus | None = None
        self._connecting = asyncio.Lock()

    async def bus(self) -> Bus:
        """The live connection, made now if there is none; raises BusError."""
        async with self._connecting:
            if self._bus is None or not self._bus.is_connected:
                self._bus = await connect(self._which, takes_files=self._takes_files)
            return self._bus

    async def keep(self, use: Callable[[Bus], Awaitable[None]], lost: Callable[[str], None]) -> NoReturn:
        """Run `use` with the bus, again whenever the bus is lost and has come back; `lost` hears each reason.

        `use` is expected to last as long as the connection; only OSError is caught.
        """
        before: Bus | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                bus = await self.bus()
                pause_s = pause_s if bus is before else FIRST_PAUSE_S
                before = bus
                await use(bus)
            except OSError as error:
                lost(str(error))
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._bus is not None:
            await self._bus.close()
