"""Moves long answers to where their rest is better off, when the machine or the mode has changed."""

import asyncio
import logging
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from ollama_proxyd.core.continuation import Failover, Obstacle
from ollama_proxyd.core.policy.migration import LEAST_LEFT_TOKENS, LEAST_STAY_S, better_place, tokens_left
from ollama_proxyd.core.policy.rank import assess
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.values import value
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.delivery import Delivery
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.queries import Queries
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)


@value
class MigratorDeps:
    """What a migrator looks at."""

    fleet: Fleet
    governor: Governor
    system: Cell[SystemState]
    clock: Clock


class Migrator:
    """Looks at the answers under way when something has changed; nothing is looked at by the clock."""

    def __init__(self, deps: MigratorDeps, queries: Queries) -> None:
        self._deps = deps
        self._queries = queries
        self._under_way: WeakSet[Delivery] = WeakSet()
        self.failover = Failover.SAME_MODEL

    def watch(self, delivery: Delivery) -> None:
        """An answer has begun, or goes on, at a backend."""
        delivery.since_s = self._deps.clock.monotonic()
        self._under_way.add(delivery)

    def follow(self, tasks: Tasks) -> None:
        """Look whenever the machine, the mode or the health of a backend changes."""
        deps = self._deps
        tasks.start("migration-system", self._look_at(deps.system))
        tasks.start("migration-mode", self._look_at(deps.governor.setting))
        tasks.start("migration-fleet", self._look_at(deps.fleet.summary))

    async def _look_at(self, cell: Cell[Any]) -> None:
        async for _ in cell.changes():
            await self.look()

    async def look(self) -> None:
        """Have each answer move that is better off elsewhere, and let all answers go on between two of them.

        Where no other backend serves none is looked at: to know its rest, all its frames have to be read.
        """
        now_s = self._deps.clock.monotonic()
        serving = [view.spec.id for view in self._deps.fleet.views.value if view.can_serve]
        if len({*serving, *(spec.id for spec in self._deps.fleet.at_work())}) < 2:
            return
        for delivery in tuple(self._under_way):
            backend_id = delivery.backend_id
            if backend_id is None or delivery.is_to_move or delivery.finished is not None:
                continue
            if now_s - delivery.since_s < LEAST_STAY_S:
                continue
            if any(each != backend_id for each in serving):
                await self._consider(delivery, backend_id)
                await asyncio.sleep(0)

    async def _consider(self, delivery: Delivery, backend_id: str) -> None:
        rest = await delivery.rest(self.failover)
        if isinstance(rest, Obstacle) or rest.spoken is None:
            return
        left = tokens_left(rest.spoken.tokens, rest.max_tokens)
        if left < LEAST_LEFT_TOKENS:
            return
        deps = self._deps
        query = await self._queries.of_rest(delivery, replace(rest, max_tokens=left))
        if delivery.backend_id != backend_id or delivery.finished is not None:
            return  # it broke or ended meanwhile
        if query.able is None or backend_id not in query.able:
            return  # it could not come back
        assessment = assess(query, deps.fleet.views.value, deps.system.value, deps.governor.setting.value)
        if (move := better_place(assessment, backend_id)) is not None:
            log.info("request %s moves from %s: %s", rest.hints.request_id, backend_id, move.why)
            delivery.move(move.why)
