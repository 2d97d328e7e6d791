"""A deadline that a busy loop does not use up."""

import asyncio
import time

import pytest

from ollama_proxyd.edges.plumbing.patience import Patience
from ollama_proxyd.edges.plumbing.watch import Watch

SHORT_S = 0.05


async def ends_in_time(patience: Patience) -> bool:
    """Whether a block that waits for ever was ended."""
    async with asyncio.timeout(20):
        try:
            async with patience:
                await asyncio.Event().wait()
        except TimeoutError:
            return True
    return False


async def test_a_block_is_ended_when_its_time_is_over() -> None:
    patience = Patience(asyncio.get_running_loop().time() + SHORT_S, Watch())
    assert await ends_in_time(patience)
    assert not patience.was_ended


async def test_a_block_can_be_ended_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    patience = Patience(loop.time() + 60, Watch())
    loop.call_later(SHORT_S, patience.end)
    assert await ends_in_time(patience)
    assert patience.was_ended


async def test_what_came_while_the_loop_was_busy_is_not_too_late() -> None:
    """The loop is held up for longer than the deadline, and the answer lies in the socket when it goes on."""

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with Patience(loop.time() + SHORT_S, Watch()):
            loop.call_soon(time.sleep, 4 * SHORT_S)
            assert await reader.readexactly(4) == b"here"
        writer.close()


async def test_a_busy_loop_does_not_make_it_wait_for_ever() -> None:
    loop = asyncio.get_running_loop()
    turns = 0

    def work() -> None:
        nonlocal turns
        turns += 1
        time.sleep(SHORT_S)
        if turns < 100:
            loop.call_soon(work)

    loop.call_soon(work)
    with pytest.raises(TimeoutError):
        async with Patience(loop.time() + SHORT_S, Watch()):
            await asyncio.Event().wait()
    assert turns < 100


async def test_blocks_that_share_a_timer_are_each_ended_in_their_own_time() -> None:
    watch, begun_s = Watch(), asyncio.get_running_loop().time()
    long, short = (Patience(begun_s + times * SHORT_S, watch) for times in (20, 1))

    async def ended_after_s(patience: Patience) -> float:
        assert await ends_in_time(patience)
        return asyncio.get_running_loop().time() - begun_s

    waited_s = await asyncio.gather(ended_after_s(long), ended_after_s(short))
    assert waited_s[1] < 20 * SHORT_S <= waited_s[0]
    assert watch._timer is None
