"""Background tasks with an owner."""

import asyncio

import pytest

from ollama_proxyd.services.tasks import Tasks


async def test_closing_cancels_what_runs_and_waits_until_it_is_gone() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with Tasks("owner") as tasks:
        tasks.start("work", work())
        await asyncio.sleep(0)
        assert not ended
    assert ended == [True]


async def test_an_unexpected_error_ends_only_its_own_task_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("nobody expected this")

    going_on = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        going_on.set()

    async with Tasks("owner") as tasks:
        await tasks.start("failing", fail())
        tasks.start("working", work())
        await going_on.wait()
    assert "owner.failing" in caplog.text
    assert "nobody expected this" in caplog.text


async def test_a_task_is_known_by_its_owner_and_name() -> None:
    async with Tasks("owner") as tasks:
        task = tasks.start("work", asyncio.sleep(0))
        await task
        assert task.get_name() == "owner.work"


async def test_finishing_lets_work_come_to_its_end_and_cancels_what_does_not() -> None:
    ended = []

    async def work(*, hangs: bool) -> None:
        await (asyncio.Event().wait() if hangs else asyncio.sleep(0))
        ended.append(hangs)

    tasks = Tasks("owner")
    tasks.start("quick", work(hangs=False))
    stuck = tasks.start("stuck", work(hangs=True))
    await tasks.finish(within_s=0.05)
    assert ended == [False]
    assert stuck.cancelled()
