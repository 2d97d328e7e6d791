"""Feeds the service manager's watchdog as long as requests are really served, and not by a timer alone."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ollama_proxyd.edges.host.notify import Notifier
from ollama_proxyd.edges.plumbing.access import EVERYWHERE
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

FEED_EVERY = 0.5
"""Part of the period between two signs of life."""
TRY_AGAIN_AFTER = 0.125
"""Part of the period after which a request to ourselves that failed is tried again."""
DEADLINE = 0.125
LONGEST_DEADLINE_S = 10.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ollama-proxyd-watchdog\r\nConnection: close\r\n\r\n"
SERVING = frozenset({b"200", b"401"})
"""Let in or asked for the token: both answers come from the running server."""
LONGEST_HEAD_BYTES = 16_384


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


async def is_served(at: Any, deadline_s: float) -> str | None:
    """None when the socket answers in time, else what happened instead."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await _connect(at)
            writer.write(REQUEST)
            status = (await reader.readline()).split(b" ", 2)[1:2]
            await reader.read(LONGEST_HEAD_BYTES)
    except TimeoutError:
        return f"no answer within {deadline_s:g} s"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    finally:
        if writer is not None:
            writer.close()
    return None if status and status[0] in SERVING else f"an answer that is none: {b' '.join(status)!r}"


async def _connect(at: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not isinstance(at, tuple):
        return await asyncio.open_unix_connection(at)
    host, port = at[:2]
    return await asyncio.open_connection(EVERYWHERE.get(host, host), port)
