"""Feeds the service manager's watchdog as long as requests are really served, and not by a timer alone."""

import logging
from collections.abc import Callable, Sequence

from ollama_proxyd.edges.host.notify import Notifier
from ollama_proxyd.edges.host.self_call import is_served
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

FEED_EVERY = 0.5
"""Part of the period between two signs of life."""
TRY_AGAIN_AFTER = 0.125
"""Part of the period after which a request to ourselves that failed is tried again."""
DEADLINE = 0.125
LONGEST_DEADLINE_S = 10.0


class Watchdog:
    """Asks the daemon itself, through its own socket; `calls` counts these requests, which are no client's.

    addresses: what it listens on; nothing for the moment in which an idle daemon withdraws.
    """

    def __init__(self, notifier: Notifier, addresses: Callable[[], Sequence[object]], clock: Clock) -> None:
        self._notifier = notifier
        self._addresses = addresses
        self._clock = clock
        self.calls = 0

    async def feed(self) -> None:
        """Feed for ever; returns at once where no watchdog is set."""
        period_s = self._notifier.watchdog_s
        if period_s is None:
            return
        while True:
            addresses = self._addresses()
            is_fed = bool(addresses) and await self._is_served(addresses[0], period_s)
            if is_fed:
                self._notifier.tell(WATCHDOG=1)
            await self._clock.sleep(period_s * (FEED_EVERY if is_fed else TRY_AGAIN_AFTER))

    async def _is_served(self, address: object, period_s: float) -> bool:
        self.calls += 1
        trouble = await is_served(address, min(period_s * DEADLINE, LONGEST_DEADLINE_S))
        if trouble is not None:
            log.warning("a request to ourselves was not served, so the watchdog is not fed: %s", trouble)
        return trouble is None
