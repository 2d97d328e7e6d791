"""One configuration at work: its backends, their fleet and the gateway; replaced whole on a reload."""

import asyncio
import logging
from collections.abc import Sequence

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.config.settings import Config, ConfiguredBackend
from ollama_proxyd.edges.backends.make import make_backend
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
        fleet = Fleet(
            [make_backend(each.spec, self._http, each.api_key) for each in self.backends],
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
        )
        self.services = Services(
            gateway=Gateway(around, config.gateway),
            fleet=fleet,
            governor=foundation.governor,
            ledger=foundation.ledger,
            system=foundation.sensing.system,
        )

    async def start(self) -> None:
        """Check every backend once, then keep watching them and the hour."""
        self._foundation.governor.reconfigure(self.config.modes)
        self._foundation.sensing.concern([each.spec for each in self.backends])
        first_check = self._tasks.start("first-check", self.services.fleet.check_all())
        await asyncio.wait([first_check], timeout=FIRST_CHECK_S)
        self._tasks.start("health", self.services.fleet.watch())
        self._tasks.start("hour", self._foundation.sensing.follow_the_hour(self.config.quiet_hours))

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
            await self._http.close()
