"""Plays days on a machine and adds up what they cost."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from statistics import fmean
from typing import Any, Protocol

from ollama_proxyd.core.values import value
from ollama_proxyd.sim.machines import Machine
from ollama_proxyd.sim.traffic import HOUR_S, Job, Traffic
from ollama_proxyd.sim.virtual_time import VirtualTimeLoop
from ollama_proxyd.sim.world import World

MISSED_FACTOR, MISSED_S = 2.0, 0.25
"""An answer is late that takes so many times what the fastest device alone needs, and so much more."""
LAST_READING_S = 60.0
"""After it sensors have told all that there was."""


class Server(Protocol):
    """Answers requests."""

    async def serve(self, job: Job) -> None:
        """The whole way of one request."""

    def booked_j(self) -> float | None:
        """Joules of answers and idle tails by its own books; None where it keeps none."""


class Contender(Protocol):
    """A way to route: the product in a mode, or a baseline."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def serving(self, world: World, jobs: Sequence[Job]) -> AbstractAsyncContextManager[Server]:
        """Runs it for a day."""


@value
class Figures:
    """What a day cost, or the means of several days.

    Joules are above the machine's floor and per served request. Waiting and percentiles are of the foreground.
    """

    requests: float
    energy_j: float
    active_j: float
    load_j: float
    tail_j: float
    waiting_s: float
    """The mean until the end of an answer."""
    p50_s: float
    p95_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    missed_percent: float
    refused: float
    background_s: float
    battery_h: float | None
    """How long a full battery lasts; None on mains."""
    peak_c: float
    paid_s: float
    """Seconds of waiting of the foreground per served request of all kinds."""
    booked_j: float | None
    """What the books say of `energy_j`; None for those that keep none."""

    def cost_j(self, price_w: float) -> float:
        """Joules per request with the waiting at a price."""
        return self.energy_j + price_w * self.paid_s


def play(machine: Machine, traffic: Traffic, contender: Contender, seed: int) -> tuple[Figures, list[Job]]:
    """One day in virtual time: its figures, and its requests with what became of each."""
    jobs = traffic.jobs(seed)
    return play_jobs(machine, jobs, contender), jobs


def play_jobs(machine: Machine, jobs: Sequence[Job], contender: Contender) -> Figures:
    """What these requests come to; each of them knows then what became of it."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        world, booked_j = runner.run(_day(machine, jobs, contender))
    return figures(world, jobs, booked_j)


def mean(days: Sequence[Figures]) -> Figures:
    """The means of several days."""

    def of(name: str) -> float | None:
        values = [value for day in days if (value := getattr(day, name)) is not None]
        return fmean(values) if values else None

    means: dict[str, Any] = {each.name: of(each.name) for each in fields(Figures)}
    return Figures(**means)


async def _day(machine: Machine, jobs: Sequence[Job], contender: Contender) -> tuple[World, float | None]:
    world = World(machine)
    loop = asyncio.get_running_loop()
    async with contender.serving(world, jobs) as server:
        under_way: set[asyncio.Task[None]] = set()
        for job in jobs:
            await asyncio.sleep(job.at_s - loop.time())
            task = asyncio.create_task(server.serve(job))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        ended_s = loop.time()
        await world.rested()
        await asyncio.sleep(LAST_READING_S)
        booked_j = server.booked_j()
    world.catch_up()
    world.lasted_s = ended_s
    return world, booked_j


def figures(world: World, jobs: Sequence[Job], booked_j: float | None = None) -> Figures:
    """What a day cost."""
    served = [job for job in jobs if job.done_s is not None]
    awaited = [job for job in served if not job.background]
    count, machine = max(len(served), 1), world.machine
    spent = [engine.spent for engine in world.engines.values()]
    waits_s = sorted(job.waited_s for job in awaited)
    ttfts_s = sorted(job.ttft_s for job in awaited)
    background_s = [job.waited_s for job in served if job.background]
    drawn_w = machine.floor_w + world.spent_j / world.lasted_s
    return Figures(
        requests=len(served),
        energy_j=world.spent_j / count,
        active_j=sum(each.active_j for each in spent) / count,
        load_j=sum(each.load_j for each in spent) / count,
        tail_j=sum(each.tail_j for each in spent) / count,
        waiting_s=fmean(waits_s) if waits_s else 0.0,
        p50_s=_percentile(waits_s, 50),
        p95_s=_percentile(waits_s, 95),
        ttft_p50_s=_percentile(ttfts_s, 50),
        ttft_p95_s=_percentile(ttfts_s, 95),
        missed_percent=100 * fmean([_is_late(machine, job) for job in awaited]) if awaited else 0.0,
        refused=sum(job.refused is not None for job in jobs),
        background_s=fmean(background_s) if background_s else 0.0,
        battery_h=None if machine.battery_j is None else machine.battery_j / drawn_w / HOUR_S,
        peak_c=max(world.package.peak_c, world.card.peak_c),
        paid_s=sum(waits_s) / count,
        booked_j=None if booked_j is None else booked_j / count,
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else 0.0


def _is_late(machine: Machine, job: Job) -> bool:
    able = [device for device in machine.devices if device.holds(job.model)]
    fastest_s = min(
        device.prefill_time_s(job.model, job.new_tokens) + device.decode_time_s(job.model, job.output_tokens)
        for device in able
    )
    return job.waited_s > MISSED_FACTOR * fastest_s + MISSED_S
