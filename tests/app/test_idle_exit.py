"""When the daemon ends because nobody uses it."""

import asyncio

import pytest

from ollama_proxyd.app.idle_exit import Use, until_unused
from tests.fakes import FakeClock, pass_by

IDLE_S = 60.0


class Daemon:
    """What uses it, and whether it takes more; somebody may come in the very last moment."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.now = Use(0, 0, 0)
        self.is_open = True
        self.comes_last: Use | None = None
        self.ending = asyncio.create_task(
            until_unused(lambda: self.now, self.withdraw, self.come_back, self.clock, IDLE_S)
        )

    async def withdraw(self) -> None:
        self.is_open = False
        if self.comes_last is not None:
            self.now, self.comes_last = self.comes_last, None

    async def come_back(self) -> None:
        self.is_open = True

    async def after(self, seconds: float) -> bool:
        await pass_by(seconds)
        return self.ending.done()


async def test_it_ends_after_the_time_without_use_and_takes_nothing_more() -> None:
    daemon = Daemon()
    assert not await daemon.after(IDLE_S - 1)
    assert await daemon.after(2)
    assert not daemon.is_open


async def test_a_request_begins_the_wait_anew() -> None:
    daemon = Daemon()
    await daemon.after(IDLE_S - 1)
    daemon.now = Use(1, 0, 0)
    assert not await daemon.after(IDLE_S - 1)
    assert await daemon.after(IDLE_S / 2)


@pytest.mark.parametrize("use", [Use(0, 1, 0), Use(0, 0, 1)], ids=["connection", "hold"])
async def test_a_connection_or_a_hold_keeps_it(use: Use) -> None:
    daemon = Daemon()
    daemon.now = use
    assert not await daemon.after(10 * IDLE_S)
    daemon.now = Use(0, 0, 0)
    assert await daemon.after(2 * IDLE_S)


@pytest.mark.parametrize("last", [Use(0, 1, 0), Use(1, 0, 0), Use(0, 0, 1)], ids=["connection", "request", "hold"])
async def test_whoever_comes_in_the_last_moment_is_served(last: Use) -> None:
    daemon = Daemon()
    daemon.comes_last = last
    assert not await daemon.after(1.5 * IDLE_S)
    assert daemon.is_open
    daemon.ending.cancel()
