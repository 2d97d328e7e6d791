"""Whether somebody uses the proxy."""

import asyncio

from ollama_proxyd.core.events import Accepted, Finished
from ollama_proxyd.services.activity import Activity
from tests.fakes import FakeBackend, FakeClock, services_of, settle
from tests.services.test_gateway import answer, request


def test_nobody_has_used_it_at_first() -> None:
    assert not Activity(FakeClock()).within(3600)


def test_a_request_under_way_is_use_however_long_it_takes() -> None:
    clock = FakeClock()
    activity = Activity(clock)
    activity.begin()
    clock.advance(9_999)
    assert activity.within(1)


def test_use_ends_a_while_after_the_last_request() -> None:
    clock = FakeClock()
    activity = Activity(clock)
    for _ in range(2):
        activity.begin()
    activity.end()
    clock.advance(100)
    activity.end()
    clock.advance(60)
    assert activity.within(60)
    clock.advance(0.5)
    assert not activity.within(60)


async def test_who_waits_hears_of_a_request_and_not_of_one_that_is_over() -> None:
    activity = Activity(FakeClock())
    activity.begin()
    activity.end()
    waiting = asyncio.create_task(activity.begun())
    await settle()
    assert not waiting.done()
    activity.begin()
    async with asyncio.timeout(5):
        await waiting


async def test_the_gateway_counts_each_request_as_use_until_it_ends() -> None:
    go_on = asyncio.Event()
    services = await services_of(FakeBackend("npu", Accepted(), go_on, Finished()))
    asking = asyncio.create_task(answer(services, request()))
    await settle()
    assert services.gateway.in_flight == 1
    go_on.set()
    await asking
    assert services.gateway.in_flight == 0
