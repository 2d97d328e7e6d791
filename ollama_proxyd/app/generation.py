"""One configuration at work: its backends, their fleet and the gateway; replaced whole on a reload."""

import asyncio
import logging
from collections.abc import Sequence

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.config.settings import Config, ConfiguredBackend
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.gateway import Gateway, Surroundings
from ollama_proxyd.services.switches import Switches
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

FIRST_CHECK_S = 1.0
"""A backend that takes longer to say how it is joins later and holds up nobody."""


class Generation:
    """A configuration's services, from the first health check until the last request has drained."""

    def __init__(self, config: Config, backends: Sequence[ConfiguredBackend], foundation: Foundation) -> None:
        self.config = config
        self.backends = tuple(backends)
        self._foundation = foundation
        self._http = HttpClient(config.timeouts)
        self._tasks = Tasks("generation")
        self._metering = Tasks("generation")
        """Goes on while requests drain: until they end, their backends work on the devices."""
        fleet = Fleet(
            [EngineBackend(each.spec, self._http, each.api_key) for each in self.backends],
            config.health,
            foundation.clock,
            foundation.learner.speeds,
            Switches(foundation.store, off=[each.spec.id for each in self.backends if not each.enabled]),
        )
        around = Surroundings(
            fleet,
            foundation.governor,
            foundation.ledger,
            foundation.sensing.system,
            foundation.clock,
            foundation.activity,
            foundation.admission,
        )
        self.services = Services(
            gateway=Gateway(around, config.gateway),
            fleet=fleet,
            governor=foundation.governor,
            ledger=foundation.ledger,
            tuner=foundation.tuner,
            system=foundation.sensing.system,
        )

    async def start(self, patience_s: float = FIRST_CHECK_S) -> None:
        """Check every backend once, then keep watching them.

        All of them get a moment to say how they are; after it the first one that serves ends the wait.
        """
        self._foundation.reconfigure(self.config)
        self._metering.start("meter", self._foundation.meter.follow(self.services.fleet))
        self._foundation.sensing.concern([each.spec for each in self.backends])
        first_check = self._tasks.start("first-check", self.services.fleet.check_all())
        await asyncio.wait([first_check], timeout=FIRST_CHECK_S)
        if patience_s > FIRST_CHECK_S:
            serving = self._tasks.start("serving", self._until_one_serves())
            left_s = patience_s - FIRST_CHECK_S
            await asyncio.wait([first_check, serving], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        self._tasks.start("health", self.services.fleet.watch(self._foundation.activity))

    async def _until_one_serves(self) -> None:
        async for is_serving in self.services.fleet.is_serving.changes():
            if is_serving:
                return

    def cut_off(self, why: str) -> None:
        """End every request under way, telling each client why."""
        self._http.cut_off(why)

    async def reconnect(self) -> None:
        """Take no kept connection any more, and check every backend at once."""
        await self._http.renew()
        self._tasks.start("check", self.services.fleet.check_all())

    async def close(self, drain_s: float | None = None) -> None:
        """Let running requests finish, at most `drain_s` if it is given, then close every connection.

        What still runs then is cut off, and its clients are told so in their streams.
        """
        await self._tasks.close()
        gateway = self.services.gateway
        try:
            async with asyncio.timeout(drain_s):
                await gateway.drained()
        except TimeoutError:
            log.warning("%d requests were still running after %g s and are cut off", gateway.in_flight, drain_s)
        finally:
            await self._metering.close()
            await self._http.close()
