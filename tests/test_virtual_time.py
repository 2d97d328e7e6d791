"""Virtual time jumps where nothing is left to do, and waits where something real is."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from ollama_proxyd.sim.virtual_time import VirtualTimeLoop
from tests.fakes import FakeClock


def run(work: Coroutine[Any, Any, float]) -> float:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


async def since(begun_s: float) -> float:
    return asyncio.get_running_loop().time() - begun_s


def test_an_hour_takes_no_time_and_timers_come_in_order() -> None:
    async def work() -> float:
        order: list[int] = []
        asyncio.get_running_loop().call_later(7, order.append, 7)
        asyncio.get_running_loop().call_later(5, order.append, 5)
        await asyncio.sleep(3600)
        assert order == [5, 7]
        return await since(0)

    assert run(work()) == 3600


def test_a_timeout_and_the_clock_agree() -> None:
    async def work() -> float:
        clock = FakeClock()
        begun_s = clock.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(90):
                await asyncio.Event().wait()
        return clock.monotonic() - begun_s

    assert run(work()) == 90


def test_a_thread_is_waited_for_in_real_time() -> None:
    async def work() -> float:
        async with asyncio.timeout(60):
            await asyncio.to_thread(time.sleep, 0.02)
        return await since(0)

    assert 0 < run(work()) < 60


def test_an_open_socket_is_waited_for_in_real_time() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop.call_later(0.02, theirs.send, b"x")
            async with asyncio.timeout(60):
                assert await loop.sock_recv(ours, 1) == b"x"
        return await since(0)

    assert 0 < run(work()) < 60


def test_a_simulated_day_waits_for_nothing_real() -> None:
    async def work() -> float:
        await asyncio.sleep(24 * 3600)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return loop.waited_s

    assert run(work()) == 0
