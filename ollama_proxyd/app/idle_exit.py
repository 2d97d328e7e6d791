"""Ends the unused daemon, where the service manager starts it again when needed."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ollama_proxyd.core.values import value
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

LOOKS = 4
"""How often it is looked for use within the time after which the daemon ends."""
SETTLE_S = 0.05
"""The last accepted clients have asked by then."""


@value
class Use:
    """What uses the daemon at one moment; `requests` are those of clients so far."""

    requests: int
    connections: int
    holds: int

    def is_idle_since(self, before: "Use") -> bool:
        """Whether nothing uses it now, and nothing has between."""
        return self.requests == before.requests and not self.connections and not self.holds


Step: TypeAlias = Callable[[], Awaitable[None]]


async def until_unused(use: Callable[[], Use], withdraw: Step, come_back: Step, clock: Clock, idle_s: float) -> None:
    """Return when the daemon was unused for `idle_s`, with nothing under way and nothing accepted.

    `withdraw` stops accepting, `come_back` takes requests again. A late client is served, and the wait begins anew.
    Later ones wait in the service manager's sockets, or make the bus start another daemon.
    """
    before, since_s = use(), clock.monotonic()
    while True:
        await clock.sleep(idle_s / LOOKS)
        now = use()
        if not now.is_idle_since(before):
            before, since_s = now, clock.monotonic()
        elif clock.monotonic() - since_s >= idle_s:
            await withdraw()
            await clock.sleep(SETTLE_S)
            if use().is_idle_since(before):
                log.info("unused for %g s, so the daemon ends until it is needed", idle_s)
                return
            await come_back()
            before, since_s = use(), clock.monotonic()
