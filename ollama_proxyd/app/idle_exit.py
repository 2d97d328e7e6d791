"""Ends the daemon when nobody has used it for a while, where the service manager starts it again when needed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

LOOKS = 4
"""How often it is looked for use within the time after which the daemon ends."""
SETTLE_S = 0.05
"""What was accepted just before nobody accepted any more has shown itself by then."""


@dataclass(frozen=True, slots=True)
class Use:
    """What uses the daemon at one moment; `requests` are those of clients so far."""

    requests: int
    connections: int
    holds: int

    def is_idle_since(self, before: "Use") -> bool:
        """Whether nothing uses it now, and nothing has between."""
        return self.requests == before.requests and not self.connections and not self.holds


class Faces(Protocol):
    """What the daemon shows to its clients."""

    async def withdraw(self) -> None:
        """Take no more from anybody; what comes waits for the next daemon, or for `come_back`."""

    async def come_back(self) -> None:
        """Take requests again."""


async def until_unused(use: Callable[[], Use], faces: Faces, clock: Clock, idle_s: float) -> None:
    """Return when nobody has used the daemon for `idle_s`, with nothing under way and nothing accepted any more.

    Whoever came in the last moment is served, and then the wait begins anew. What comes later waits in the sockets of
    the service manager, or makes the bus start another daemon.
    """
    before, since_s = use(), clock.monotonic()
    while True:
        await clock.sleep(idle_s / LOOKS)
        now = use()
        if not now.is_idle_since(before):
            before, since_s = now, clock.monotonic()
        elif clock.monotonic() - since_s >= idle_s:
            await faces.withdraw()
            await clock.sleep(SETTLE_S)
            if use().is_idle_since(before):
                log.info("nobody has used the daemon for %g s, so it ends until it is needed", idle_s)
                return
            await faces.come_back()
            before, since_s = use(), clock.monotonic()
