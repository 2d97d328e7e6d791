"""Keeps what engines tell of their load, asked again and again while a picker is served."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)

EACH_S = 0.002
"""At the most so much of a round is spent on one engine, so that a large fleet is asked less often."""
MOST_AT_ONCE = 32
KEPT_ROUNDS = 5
"""What an engine told counts no longer when it has been silent for so many rounds."""


class LoadReader(Protocol):
    """Asks an engine for its load."""

    async def read(self, config: BackendConfig) -> EngineLoad:
        """What it tells now, NOT_TOLD where it tells nothing of it; raises ProxyError."""


class EngineLoads:
    """The loads by backend."""

    def __init__(self, fleet: Fleet, reader: LoadReader, clock: Clock, interval_s: Callable[[], float]) -> None:
        self._fleet = fleet
        self._reader = reader
        self._clock = clock
        self._interval_s = interval_s
        self._loads: dict[str, EngineLoad] = {}
        self._missed: dict[str, int] = {}
        self.changed: set[str] = set()
        """The backends whose load has changed; who has looked at them empties it."""
        self.queued: dict[str, EngineLoad] = {}
        """The loads of those on which requests wait, or whose cache is full."""

    def of(self, backend_id: str) -> EngineLoad:
        """What a backend told last."""
        return self._loads.get(backend_id, NOT_TOLD)

    async def follow(self) -> None:
        """Ask every backend that is up, round after round; never returns."""
        within_s = 0.0
        while True:
            begun_s = self._clock.monotonic()
            await self.ask(within_s)
            within_s = max(self._interval_s(), EACH_S * len(self._loads))
            await self._clock.sleep(max(within_s - (self._clock.monotonic() - begun_s), 0.0))

    async def ask(self, within_s: float = 0.0) -> None:
        """One round, of the backends that are up, one after the other; what others told is forgotten.

        All at once they would keep decisions waiting.
        """
        up = {view.spec.id for view in self._fleet.views.value if view.health is Health.UP}
        for each in [each for each in self._loads if each not in up]:
            self._set(each, NOT_TOLD)
        self._missed = {each: missed for each, missed in self._missed.items() if each in up}
        turns = asyncio.Semaphore(MOST_AT_ONCE)
        asked = [each for each in self._fleet.members if each in up]
        async with asyncio.TaskGroup() as round_:
            for each in asked:
                if (config := self._config_of(each)) is not None:
                    round_.create_task(self._ask(config, turns), name=f"load of {each}")
                if within_s:
                    await self._clock.sleep(within_s / len(asked))

    def _config_of(self, backend_id: str) -> BackendConfig | None:
        """Where one is by now; None where it has gone, or down, since the round began."""
        member = self._fleet.members.get(backend_id)
        return member.config if member is not None and self._fleet.view(backend_id).health is Health.UP else None

    async def _ask(self, config: BackendConfig, turns: asyncio.Semaphore) -> None:
        backend_id = config.spec.id
        try:
            async with turns:
                told = await self._reader.read(config)
        except ProxyError as error:
            log.debug("the load of backend %s is not known: %s", backend_id, error.message)
            self._missed[backend_id] = missed = self._missed.get(backend_id, 0) + 1
            if missed >= KEPT_ROUNDS:
                self._set(backend_id, NOT_TOLD)
            return
        self._missed.pop(backend_id, None)
        self._set(backend_id, told)

    def _set(self, backend_id: str, told: EngineLoad) -> None:
        if told == self.of(backend_id):
            return
        self.changed.add(backend_id)
        self._loads[backend_id] = told
        self.queued.pop(backend_id, None)
        if told.queued:
            self.queued[backend_id] = told
        if not told.is_told:
            del self._loads[backend_id]
