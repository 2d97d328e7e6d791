"""Keeps the machine awake while answers are written, where the configuration asks for it."""

import logging

from ollama_proxyd.edges.host.inhibitor import LOGIND, Inhibitor, inhibit
from ollama_proxyd.edges.plumbing.dbus import Bus, CallError
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

WHY = "answers are being written"
WANTED = ("idle:sleep", "idle")
"""Where the one is refused (a service outside a person's session may not block sleep), the next is tried."""


SILENCES = frozenset({f"org.freedesktop.DBus.Error.{each}" for each in ("NoReply", "Timeout", "ServiceUnknown")})
"""What the bus says for a logind that is being started anew."""


class StayingAwake:
    """Holds the lock while `is_wanted` says so."""

    def __init__(self, is_wanted: Cell[bool]) -> None:
        self._is_wanted = is_wanted
        self._what: tuple[str, ...] = WANTED
        self._lock: Inhibitor | None = None

    async def follow(self, bus: Bus) -> None:
        """Take and release the lock for as long as the bus lasts; raises BusError when it ends."""
        async with Tasks("awake") as tasks:
            tasks.start("lock", self._hold(bus))
            await bus.disconnected()
        raise bus.lost()

    async def _hold(self, bus: Bus) -> None:
        try:
            async for is_wanted in self._is_wanted.changes():
                self._release()
                if is_wanted and await bus.owner_of(LOGIND.name) is not None:
                    await self._take(bus)
        except OSError as error:
            log.info("nothing keeps the machine awake while answers are written: %s", error)
        finally:
            self._release()

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

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._lock = None


def _may_pass(error: OSError) -> bool:
    """Whether it was no refusal: the next time may be better."""
    return isinstance(error, TimeoutError) or (isinstance(error, CallError) and error.name in SILENCES)
