"""Real llama-servers that are killed, stopped and started again while they answer."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import tiny_model
from tests.e2e.harness import LlamaServer, llama, wait_until
from tests.faults.client import PATHS, Asked, Outcome, Seen, exchange, request_for, seen_in
from tests.faults.rig import CHEAP, DEAR, CountedDaemon, each_within
from tests.real_things import installed

pytestmark = pytest.mark.real
APIS = tuple(PATHS)
BOUND_S = 60
WAITS = {"upstream": {"connect_s": 2.0, "first_byte_s": 20.0, "idle_s": 2.0, "probe_s": 2.0}}
CHECKS = {"monitoring": {"health_interval_s": 1, "health_recheck_s": 0.2, "health_timeout_s": 1}}


class Pair:
    """Two llama-servers of the same model, the first of them cheaper, and the daemon in front."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._program = Path(installed("install-llama-server"))
        self._model = tiny_model.build(folder / "tiny.gguf")
        self._folder = folder
        self._stack = stack
        self.servers = [self._started(), self._started()]
        for server in self.servers:
            server.ready()
        first, second = self.servers
        backends = [
            llama("first", first, characteristics=CHEAP, slots=4),
            llama("second", second, characteristics=DEAR, slots=4),
        ]
        self.daemon = CountedDaemon(folder, backends, **WAITS, **CHECKS)
        stack.callback(self.daemon.stop)
        self.daemon.ready_with("first", "second")

    def _started(self, port: int = 0) -> LlamaServer:
        server = LlamaServer(self._program, self._model, "calm", self._folder, "--reasoning", "off", port=port)
        self._stack.callback(server.kill)
        return server

    def kill(self, at: int) -> None:
        self.servers[at].kill()

    def start_again(self, at: int) -> None:
        self.servers[at] = self._started(self.servers[at].port)

    async def ask(self, api: str, *, stream: bool) -> Seen:
        """One request whose answer is known."""
        sent = request_for(api, {"model": "calm", "stream": stream, "messages": tiny_model.HELLO, "temperature": 0})
        got, in_time = await exchange(self.daemon.port, sent, BOUND_S)
        return seen_in(Asked(api, "calm", stream, (tiny_model.REPLY,), is_other=True), got, in_time, BOUND_S)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack, tmp_path)


def outcomes(seen: list[Seen]) -> Counter[str]:
    return Counter(each.outcome.value for each in seen)


def bad(seen: list[Seen]) -> list[Seen]:
    return [each for each in seen if each.outcome in {Outcome.WRONG, Outcome.LOST}]


async def many(pair: Pair, count: int) -> list[Seen]:
    """Requests in both dialects, streamed and whole, some at the same time."""
    asked = [(APIS[number % 2], number % 4 < 2) for number in range(count)]

    def work(api: str, stream: bool) -> Any:
        return lambda: pair.ask(api, stream=stream)

    return await each_within(6, (work(api, stream) for api, stream in asked))


async def test_an_engine_that_is_killed_in_mid_answer_costs_no_answer(pair: Pair) -> None:
    asked = asyncio.create_task(many(pair, 24))
    await asyncio.to_thread(wait_until, lambda: pair.daemon.in_flight()["first"], "the first backend answers")
    pair.kill(0)
    seen = await asked
    assert bad(seen) == []
    assert outcomes(seen)["whole"] >= 0.95 * len(seen), outcomes(seen)


async def test_an_engine_that_is_stopped_in_mid_answer_costs_no_answer(pair: Pair) -> None:
    asked = asyncio.create_task(many(pair, 24))
    await asyncio.to_thread(wait_until, lambda: pair.daemon.in_flight()["first"], "the first backend answers")
    pair.servers[0].signal(signal.SIGSTOP)
    try:
        seen = await asked
    finally:
        pair.servers[0].signal(signal.SIGCONT)
    assert bad(seen) == []
    assert outcomes(seen)["whole"] >= 0.95 * len(seen), outcomes(seen)


async def test_when_all_engines_are_killed_every_client_is_told_and_all_is_well_once_they_are_back(pair: Pair) -> None:
    pair.kill(0)
    pair.kill(1)
    seen = await many(pair, 8)
    assert outcomes(seen) == {"honest end": 8}, seen
    pair.start_again(0)
    await asyncio.to_thread(pair.servers[0].ready)
    async with asyncio.timeout(BOUND_S):
        while bad_or_none := [each for each in await many(pair, 1) if each.outcome is not Outcome.WHOLE]:
            assert bad(bad_or_none) == []
    assert outcomes(await many(pair, 8)) == {"whole": 8}


async def test_an_engine_that_comes_and_goes_under_load_costs_no_answer(pair: Pair, record_property: Any) -> None:
    before = pair.daemon.books()
    asked = asyncio.create_task(many(pair, 80))
    for _ in range(4):
        await asyncio.sleep(0.5)
        await asyncio.to_thread(pair.kill, 0)
        await asyncio.sleep(0.2)
        pair.start_again(0)
    seen = await asked
    record_property("shown", f"80 requests while one of two llama-servers was killed 4 times: {dict(outcomes(seen))}")
    assert bad(seen) == []
    assert outcomes(seen)["whole"] >= 0.95 * len(seen), outcomes(seen)
    after = await asyncio.to_thread(
        pair.daemon.settled, lambda books: not books.in_flight and books.fds <= before.fds + 8
    )
    assert after.in_flight == 0
