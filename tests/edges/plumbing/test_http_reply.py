"""One timer watches all answers, and each of them is ended in its own time."""

import asyncio
from collections.abc import Mapping

import pytest

from ollama_proxyd.edges.plumbing.call import Take
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply
from ollama_proxyd.edges.plumbing.watch import Watch

SHORT_S, LONG_S = 3.0, 50.0


class Halting:
    """An answer that says what it is told to."""

    status = 200
    headers: Mapping[str, str] = {}
    is_over = False

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def read(self) -> bytes:
        if isinstance(piece := await self.pieces.get(), Exception):
            raise piece
        return piece

    async def pour(self, take: Take) -> bool:
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        self.pieces.put_nowait(error)

    def close(self) -> None:
        pass


def answer(watch: Watch, pause_s: float) -> Reply:
    return Reply(Halting(), "npu", (watch.loop.time() + pause_s, pause_s), Limits(), watch)


async def silent_for(reply: Reply) -> float:
    """After how long its reader hears that it has fallen silent."""
    begun_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(2 * LONG_S):
        assert await reply.read() == b""
    assert reply.broken is not None
    reply.end()
    return asyncio.get_running_loop().time() - begun_s


@pytest.mark.parametrize("pauses_s", [(SHORT_S, LONG_S), (LONG_S, SHORT_S)])
async def test_each_answer_is_ended_in_its_own_time_whichever_began_first(pauses_s: tuple[float, float]) -> None:
    watch = Watch()
    replies = [answer(watch, each) for each in pauses_s]
    waited_s = await asyncio.gather(*map(silent_for, replies))
    assert waited_s == pytest.approx(pauses_s)


async def test_an_answer_that_ends_leaves_the_others_watched() -> None:
    watch = Watch()
    first, second = answer(watch, SHORT_S), answer(watch, LONG_S)
    first.end()
    assert await silent_for(second) == pytest.approx(LONG_S)


async def test_an_answer_that_comes_to_bear_less_is_ended_sooner() -> None:
    watch = Watch()
    reply = answer(watch, LONG_S)
    reply.bear(SHORT_S)
    assert await silent_for(reply) == pytest.approx(SHORT_S)
