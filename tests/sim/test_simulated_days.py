"""Short days on each simulated machine, through the real gateway."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.settings import QueueSettings
from ollama_proxyd.sim.baselines import RULES, Baseline
from ollama_proxyd.sim.bound import lower_bound_j
from ollama_proxyd.sim.machines import LAPTOP, MACHINES
from ollama_proxyd.sim.play import Figures, play
from ollama_proxyd.sim.product import Product, Serving
from ollama_proxyd.sim.traffic import PROGRAMS, Job, Traffic
from ollama_proxyd.sim.virtual_time import VirtualTimeLoop
from ollama_proxyd.sim.world import World

PRICED = (Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY)


EVEN_SEED = 2
"""A short day has few requests: on others one load of a large model, more or less, tells the modes apart."""


def short_day(machine: str, mode: Mode, seed: int = 1) -> Figures:
    found = MACHINES[machine]
    traffic = Traffic(found.chats, hours=0.75, programs=("chat", "embed"))
    return play(found, traffic, Product(mode), seed)[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_each_thriftier_mode_needs_less_energy_and_none_refuses(machine: str) -> None:
    days = [short_day(machine, mode, EVEN_SEED) for mode in PRICED]
    assert [day.refused for day in days] == [0] * len(days)
    joules = [day.energy_j for day in days]
    assert all(thrifty <= 1.02 * fast for fast, thrifty in pairwise(joules)), joules


def test_where_work_exceeds_what_is_within_the_limit_of_watts_no_queue_stands_before_it_in_vain() -> None:
    agents, price_w = (
        Traffic(("chat:3b",), hours=0.25, programs=("agents",)),
        DEFAULT_TABLE[Mode.EFFICIENCY].price_of_time_w,
    )
    modes = (Mode.BALANCED, Mode.EFFICIENCY)
    costs_j = [play(LAPTOP, agents, Product(mode), seed=1)[0].cost_j(price_w) for mode in modes]
    assert costs_j[1] < 1.1 * costs_j[0], "at its own price of time no mode is much dearer than another"


def test_what_the_queue_does_not_hold_is_refused() -> None:
    agents = Traffic(("chat:3b",), hours=0.05, programs=("agents",))
    queues = [QueueSettings(max_length=0), QueueSettings()]
    without, usual = (play(LAPTOP, agents, Product(Mode.EFFICIENCY, queue=each), seed=1)[0] for each in queues)
    assert (without.refused > 0, usual.refused) == (True, 0)


@pytest.mark.parametrize("mode", [Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY])
def test_no_large_model_is_left_to_the_processor_to_spare_the_card(mode: Mode) -> None:
    machine = MACHINES["workstation"]
    _, jobs = play(machine, Traffic(machine.chats, hours=0.75, programs=("chat", "embed")), Product(mode), seed=1)
    assert {job.backend for job in jobs if job.model == "chat:32b"} == {"nvidia"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.ULTRA_EFFICIENCY])
def test_the_books_say_what_the_devices_drew_whether_sensors_or_the_battery_tell_it(machine: str, mode: Mode) -> None:
    day = short_day(machine, mode)
    assert day.booked_j == pytest.approx(day.energy_j, rel=0.1)


def test_the_same_seed_gives_the_same_day() -> None:
    traffic = Traffic(LAPTOP.chats, hours=1.0, programs=("chat", "embed"))
    one, other = (play(LAPTOP, traffic, Product(Mode.BALANCED), seed=3)[0] for _ in range(2))
    assert one == other
    assert one != play(LAPTOP, traffic, Product(Mode.BALANCED), seed=4)[0]


def test_agents_and_batches_are_served_whole_and_in_time_order() -> None:
    traffic = Traffic(LAPTOP.chats, hours=0.4, rate=0.5, programs=("agents", "batch"))
    _, jobs = play(LAPTOP, traffic, Product(Mode.BALANCED), seed=1)
    assert {job.program for job in jobs} == {"agents", "batch"}
    assert all(0 < job.ttft_s <= job.waited_s < math.inf for job in jobs)


def test_every_program_sends_requests() -> None:
    assert {job.program for job in Traffic(LAPTOP.chats, programs=tuple(PROGRAMS)).jobs(1)} == set(PROGRAMS)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_passes_the_bound(rule: str) -> None:
    traffic = Traffic(LAPTOP.chats, hours=1.0)
    for unloads in (False, True):
        figures, jobs = play(LAPTOP, traffic, Baseline(rule, RULES[rule], unloads), seed=1)
        for price_w in (0.0, 7.0, 100.0):
            assert figures.cost_j(price_w) * len(jobs) > lower_bound_j(LAPTOP, jobs, price_w)


def test_the_product_does_not_pass_the_bound() -> None:
    figures, jobs = play(LAPTOP, Traffic(LAPTOP.chats, 1.0, programs=("chat",)), Product(Mode.EFFICIENCY), seed=1)
    assert figures.cost_j(2.0) * len(jobs) > lower_bound_j(LAPTOP, jobs, 2.0)


@pytest.mark.parametrize("machine", MACHINES)
def test_agents_in_batches_and_queues_do_not_pass_the_bound(machine: str) -> None:
    traffic = Traffic(("chat:3b",), hours=0.2, rate=4.0, programs=("agents",))
    for rule in ("fastest", "least connections"):
        figures, jobs = play(MACHINES[machine], traffic, Baseline(rule, RULES[rule]), seed=1)
        assert figures.cost_j(7.0) * len(jobs) > lower_bound_j(MACHINES[machine], jobs, 7.0)


def test_the_bound_counts_that_one_waits_while_another_has_the_slot() -> None:
    (device,) = [each for each in LAPTOP.devices if each.id == "igpu"]
    alone = replace(LAPTOP, devices=(device,))
    jobs = [Job(100.0, "chat", "chat:8b", Operation.CHAT, 60, 60, 400) for _ in range(3)]
    busy_s = device.prefill_time_s("chat:8b", 60) + device.decode_time_s("chat:8b", 400)
    without_j = lower_bound_j(alone, jobs, 0.0) + 7.0 * (device.load_time_s("chat:8b") + 3 * busy_s)
    waits_j = 7.0 * (1 + 2) * busy_s
    assert without_j + 0.8 * waits_j < lower_bound_j(alone, jobs, 7.0) <= without_j + waits_j


def test_a_lone_answer_costs_what_its_phases_cost() -> None:
    async def alone() -> tuple[World, Job]:
        world = World(LAPTOP, keep=lambda _device, _model: 60.0)
        job = Job(0.0, "chat", "chat:8b", Operation.CHAT, 300, 300, 101)
        await world.begin("nvidia", job).done
        job.done_s = asyncio.get_running_loop().time()
        await world.rested()
        return world, job

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        world, job = runner.run(alone())
    card = world.engines["nvidia"]
    work_s = 0.12 + 300 / 2500 + 100 / 65
    load_s = 0.5 + 4.7 / 1.8
    assert job.waited_s == pytest.approx(1.5 + load_s + work_s)
    assert card.spent.active_j == pytest.approx(55 * work_s)
    assert card.spent.load_j == pytest.approx(25 + 30 * (1.5 + load_s))
    assert card.spent.tail_j == pytest.approx(9 * 60 + 6 * 10)
    assert not card.awake


def test_two_in_a_batch_share_the_device_and_are_slower_than_one() -> None:
    async def together(count: int) -> float:
        device = MACHINES["workstation"].devices[0]
        world = World(MACHINES["workstation"])
        jobs = [Job(0.0, "chat", "chat:8b", Operation.CHAT, 100, 100, 101) for _ in range(count)]
        works = [world.begin(device.id, job) for job in jobs]
        await asyncio.gather(*(work.done for work in works))
        return world.engines[device.id].spent.active_j

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        one_j, two_j = (runner.run(together(count)) for count in (1, 2))
    assert one_j < two_j < 2 * one_j


class Telling(Product):
    """The product, which tells at the end what its books say was saved."""

    told_j: float | None = None

    @asynccontextmanager
    async def serving(self, world: World, jobs: Sequence[Job]) -> AsyncIterator[Serving]:
        async with super().serving(world, jobs) as server:
            yield server
            type(self).told_j = server.foundation.services.ledger.today.saved_j


def test_what_was_saved_is_the_difference_of_whole_days() -> None:
    traffic = Traffic(LAPTOP.chats, hours=0.5, programs=("chat", "embed"))
    fast, _ = play(LAPTOP, traffic, Product(Mode.PERFORMANCE), seed=1)
    thrifty, _ = play(LAPTOP, traffic, Telling(Mode.BALANCED), seed=1)
    fast_j, thrifty_j = fast.energy_j * fast.requests, thrifty.energy_j * thrifty.requests
    assert Telling.told_j == pytest.approx(fast_j - thrifty_j, abs=0.2 * fast_j)
