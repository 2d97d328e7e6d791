"""The follower of the status hears of what time alone changes."""

import asyncio
from functools import partial

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.budget import BudgetSettings
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.status import StatusFollower, snapshot
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeClock, reference_fleet, services_of

LONG_S = 1000.0


async def test_the_end_of_each_rest_is_a_change() -> None:
    services = await services_of(*reference_fleet(), clock=FakeClock())
    fleet, news = services.fleet, StatusFollower()

    def resting() -> list[str]:
        return [each.id for each in snapshot(services).backends if each.resting_until_unix_seconds is not None]

    async def next_resting() -> list[str]:
        news.clear()
        assert await news.wait(0.01, LONG_S)
        return resting()

    async with asyncio.timeout(LONG_S), Tasks("news") as tasks:
        tasks.start("follow", news.follow(services))
        await asyncio.sleep(1)
        for backend_id, rest_s in (("npu", 30.0), ("cpu", 5.0)):
            fleet.note_begun(fleet.members[backend_id], None, rest_s)
        await asyncio.sleep(1)
        assert resting() == ["npu", "cpu"]
        assert [await next_resting(), await next_resting()] == [["npu"], []]


async def test_what_changes_without_a_request_is_a_change() -> None:
    services = await services_of(*reference_fleet(), clock=FakeClock())
    news, savings = StatusFollower(), services.keeper.savings
    async with Tasks("news") as tasks:
        tasks.start("follow", news.follow(services))
        await asyncio.sleep(1)
        for change in (
            partial(services.budget.reconfigure, BudgetSettings(20.0)),
            services.power_saver.held,
            services.power_saver.let_go,
            partial(savings.unloads.set, 1),
            partial(services.energy.booked.publish, AttemptEnded("npu", "tiny", Operation.CHAT, "r", 0.0, 1.0)),
        ):
            news.clear()
            change()
            assert await news.wait(0.01, 5.0), change
