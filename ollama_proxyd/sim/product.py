"""The product on a simulated machine: the daemon's own wiring, with engines, sensors and time replaced."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import field, replace

from ollama_proxyd.app.foundation import Foundation
from ollama_proxyd.config.load import defaults
from ollama_proxyd.core.energy import Account
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta
from ollama_proxyd.core.modes import Mode, ModeRow
from ollama_proxyd.core.programs import Asker, KnownBy, Program
from ollama_proxyd.core.requests import Api, Chat, Hints, Json, Operation, Priority, Request
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.storage.history import NoHistory
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.settings import GatewaySettings, QueueSettings
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import Pace
from ollama_proxyd.sim.backend import MachineSensor, SimulatedBackend, spec_of
from ollama_proxyd.sim.traffic import Job
from ollama_proxyd.sim.virtual_time import VirtualClock
from ollama_proxyd.sim.world import World

ENDPOINTS = {Operation.CHAT: "chat", Operation.COMPLETION: "generate", Operation.EMBEDDING: "embed"}
SENSED_EACH_S = 5.0
"""Sensors are asked less often than by the daemon: what they say took half of a run's time."""


@value
class Product:
    """The daemon in a mode; `row` stands for the mode's own where it is given."""

    mode: Mode
    row: ModeRow | None = None
    queue: QueueSettings = QueueSettings()
    max_in_flight: int = GatewaySettings().max_in_flight
    then: Mapping[int, Mode] = field(default_factory=dict)
    """The mode that is chosen before each request, by its number; the same one for all where it is empty."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.mode.value

    @asynccontextmanager
    async def serving(self, world: World, jobs: Sequence[Job]) -> AsyncIterator["Serving"]:
        """The running product."""
        config = defaults()
        table = config.modes.table if self.row is None else {**config.modes.table, self.mode: self.row}
        backends = tuple(BackendConfig(spec_of(device)) for device in world.machine.devices)
        modes = replace(config.modes, table=table)
        gateway = replace(config.gateway, max_in_flight=self.max_in_flight)
        config = replace(
            config, default_mode=self.mode, modes=modes, backends=backends, queue=self.queue, gateway=gateway
        )
        by_id = {str(at): job for at, job in enumerate(jobs)}
        foundation = Foundation.build(
            config,
            _Forgetful(),
            NoHistory(),
            VirtualClock(),
            lambda wanted: SimulatedBackend(wanted.spec, world, by_id),
        )
        foundation.start()
        foundation.reconfigure(config, backends)
        sensors = Tasks("sensors")
        pace = Pace(foundation.clock, foundation.activity, replace(config.sensors.pace, busy_s=SENSED_EACH_S))
        foundation.sensing.watch([MachineSensor(world)], [], sensors, pace)
        await foundation.first_check()
        try:
            yield Serving(foundation, by_id, self.then)
        finally:
            await sensors.close()
            await foundation.close(lambda: False)


class Serving:
    """Sends each request through the gateway."""

    def __init__(self, foundation: Foundation, jobs: Mapping[str, Job], then: Mapping[int, Mode]) -> None:
        self.foundation = foundation
        self._then = then
        self._ids = {id(job): request_id for request_id, job in jobs.items()}

    def booked_j(self) -> float:
        """Joules of answers and idle tails by the product's own books."""
        energy = self.foundation.services.energy
        energy.close()
        return sum(joules for (_, account, _), joules in energy.totals.joules.items() if account is not Account.BASE)

    async def serve(self, job: Job) -> None:
        """The whole way of one request, as its client sees it."""
        now_s = asyncio.get_running_loop().time
        services = self.foundation.services
        request_id = self._ids[id(job)]
        if (mode := self._then.get(int(request_id))) is not None:
            services.governor.select(mode)
        try:
            async with aclosing(services.gateway.answer(request_of(job, request_id))) as events:
                async for event in events:
                    if job.first_s is None and isinstance(event, Delta):
                        job.first_s = now_s()
        except ProxyError as error:
            job.refused = error.code or error.kind.value
            return
        job.done_s = now_s()
        job.first_s = job.first_s or job.done_s
        job.backend = services.ledger.recent()[-1].backend_id


def request_of(job: Job, request_id: str) -> Request:
    """The request as a dialect would have read it; its id leads to what it truly needs."""
    priority = Priority.BEST_EFFORT if job.background else None
    return Request(
        operation=job.operation,
        api=Api.OLLAMA,
        endpoint=ENDPOINTS[job.operation],
        model=job.model,
        stream=job.operation is not Operation.EMBEDDING,
        body=b"{}",
        content=lambda: Chat(()),
        hints=Hints(priority=priority, request_id=request_id, asker=Asker(Program(job.program, KnownBy.EXECUTABLE))),
        prompt_tokens=job.prompt_tokens,
        max_tokens=job.max_tokens,
    )


class _Forgetful:
    """A state store for one run."""

    def __init__(self) -> None:
        self._state: dict[str, Json] = {}

    def get(self, key: str) -> Json:
        return self._state.get(key)

    def put(self, key: str, value: Json) -> None:
        self._state[key] = value

    async def written(self) -> None:
        pass
