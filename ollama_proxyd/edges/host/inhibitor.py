"""logind's inhibitor locks: they delay or block sleep while a file is open."""

import logging
import os
from contextlib import ExitStack
from typing import Any, TypeAlias

from ollama_proxyd.edges.plumbing.dbus import Bus, CallError, Target
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

LOGIND = Target("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
log = logging.getLogger(__name__)

WHO = "ollama-proxyd"
WHY = "answers are being written"
WANTED = ("idle:sleep", "idle")
"""The second is tried where the first is refused: outside a session, services may not block sleep."""
SILENCES = frozenset({f"org.freedesktop.DBus.Error.{each}" for each in ("NoReply", "Timeout", "ServiceUnknown")})
"""What the bus says for a logind that is being started anew."""
DEFAULT_DELAY_S = 5.0
"""logind's own default for InhibitDelayMaxSec."""


Lock: TypeAlias = ExitStack
"""Its `close` lets go; closing again does nothing."""


async def inhibit(bus: Bus, what: str, mode: str, why: str) -> Lock:
    """Take a lock on "sleep" or "idle:sleep", to "delay" or to "block" it; raises OSError."""
    lock = Lock()
    lock.callback(os.close, await bus.call_for_file(LOGIND, "Inhibit", "ssss", [what, WHO, why, mode]))
    return lock


async def longest_delay_s(bus: Bus) -> float:
    """How long logind waits for delaying locks."""
    properties = Target(LOGIND.name, LOGIND.path, PROPERTIES)
    try:
        (value,) = await bus.call(properties, "Get", "ss", [LOGIND.interface, "InhibitDelayMaxUSec"])
    except OSError:
        return DEFAULT_DELAY_S
    delay_us: Any = value.value
    return delay_us / 1e6 if isinstance(delay_us, int) and delay_us > 0 else DEFAULT_DELAY_S


class StayingAwake:
    """Holds the lock while `is_wanted` says so."""

    def __init__(self, is_wanted: Cell[bool]) -> None:
        self._is_wanted = is_wanted
        self._what: tuple[str, ...] = WANTED
        self._lock = Lock()

    async def follow(self, bus: Bus) -> None:
        """Take and release the lock for as long as the bus lasts; raises BusError when it ends."""
        async with Tasks("awake") as tasks:
            tasks.start("lock", self._hold(bus))
            await bus.disconnected()
        raise bus.lost()

    async def _hold(self, bus: Bus) -> None:
        try:
            async for is_wanted in self._is_wanted.changes():
                self._lock.close()
                if is_wanted and await bus.owner_of(LOGIND.name) is not None:
                    await self._take(bus)
        except OSError as error:
            log.info("nothing keeps the machine awake while answers are written: %s", error)
        finally:
            self._lock.close()

    async def _take(self, bus: Bus) -> None:
        while self._what:
            try:
                self._lock = await inhibit(bus, self._what[0], "block", WHY)
            except OSError as error:
                if not bus.is_connected:
                    raise
                log.warning("logind does not let us hold off %r: %s", self._what[0], error)
                if _may_pass(error):
                    return
                self._what = self._what[1:]
            else:
                return


def _may_pass(error: OSError) -> bool:
    """Whether it was no refusal: the next time may be better."""
    return isinstance(error, TimeoutError) or (isinstance(error, CallError) and error.name in SILENCES)
