"""What others do: rules that need no estimates."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from ollama_proxyd.core.values import value
from ollama_proxyd.sim.machines import Device, Machine
from ollama_proxyd.sim.traffic import Job
from ollama_proxyd.sim.world import World

BREAK_EVEN_PRICE_W = 7.0
"""What a second is worth to baselines that unload at break-even."""

Choose: TypeAlias = Callable[[World, Sequence[str], random.Random], str]
"""Names one of the backends that hold a model."""


def _fastest(world: World, able: Sequence[str], _: random.Random) -> str:
    return max(able, key=lambda each: world.engines[each].device.decode_tps)


def _by_watts(world: World, able: Sequence[str], _: random.Random) -> str:
    return min(able, key=lambda each: world.engines[each].device.power_w)


def _random(_: World, able: Sequence[str], rng: random.Random) -> str:
    return rng.choice(able)


def _least_connections(world: World, able: Sequence[str], rng: random.Random) -> str:
    least = min(world.engines[each].in_flight for each in able)
    return rng.choice([each for each in able if world.engines[each].in_flight == least])


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, _world: World, able: Sequence[str], _rng: random.Random) -> str:
        """The next one."""
        self._count += 1
        return able[self._count % len(able)]


RULES: Mapping[str, Callable[[], Choose]] = {
    "fastest": lambda: _fastest,
    "round robin": RoundRobin,
    "random": lambda: _random,
    "least connections": lambda: _least_connections,
    "by watts": lambda: _by_watts,
}


def only(backend_id: str) -> Choose:
    """One device for all that it holds; for the rest the one of fewest watts."""
    return lambda world, able, rng: backend_id if backend_id in able else _by_watts(world, able, rng)


@value
class Baseline:
    """A rule that sends each request to an engine at once; queues are the engines' own."""

    name: str
    make: Callable[[], Choose]
    break_even: bool = False

    def keep_s(self, device: Device, model: str) -> float:
        """How long an unused model is kept."""
        return device.break_even_s(model, BREAK_EVEN_PRICE_W)

    @asynccontextmanager
    async def serving(self, world: World, _jobs: Sequence[Job]) -> AsyncIterator["Ruled"]:
        """The running rule."""
        yield Ruled(self, world)


class Ruled:
    """Sends each request where a rule says."""

    def __init__(self, baseline: Baseline, world: World) -> None:
        self._baseline = baseline
        self._world = world
        self._choose = baseline.make()
        self._able: dict[str, list[str]] = {}
        self._rng = random.Random(0)  # noqa: S311 - a simulation, no secret

    def booked_j(self) -> None:
        """A rule keeps no books."""
        return

    async def serve(self, job: Job) -> None:
        """The whole way of one request."""
        if (able := self._able.get(job.model)) is None:
            engines = self._world.engines.items()
            able = self._able[job.model] = [each for each, engine in engines if engine.device.holds(job.model)]
        job.backend = self._choose(self._world, able, self._rng)
        keep_s = None
        if self._baseline.break_even:
            keep_s = self._baseline.keep_s(self._world.engines[job.backend].device, job.model)
        work = self._world.begin(job.backend, job, keep_s)
        now_s = asyncio.get_running_loop().time
        await work.first
        job.first_s = now_s()
        await work.done
        job.done_s = now_s()


def baselines(machine: Machine) -> list[Baseline]:
    """All of them for a machine, each also with unloading at break-even."""
    alone: dict[str, Callable[[], Choose]] = {
        f"{device.id} alone": partial(only, device.id) for device in machine.devices
    }
    rules = {**RULES, **alone}
    return [
        Baseline(f"{name}, unloading" if unloads else name, make, unloads)
        for name, make in rules.items()
        for unloads in (False, True)
    ]
