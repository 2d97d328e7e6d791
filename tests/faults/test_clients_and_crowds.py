"""Clients that vanish, a thousand of them at once, and a machine whose clock or disk is odd."""

import asyncio
import random
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import backend, wait_until
from tests.faults.client import Asked, Outcome, ask, request
from tests.faults.rig import CHEAP, CountedDaemon, Upstream, each_within

HOUR_S = 3600.0
LEAPS_S = (3 * HOUR_S, -3 * HOUR_S, 10 * 365 * 24 * HOUR_S, -25 * HOUR_S, 60.0, -20 * 365 * 24 * HOUR_S, 0.0)
VANISHING = 500
CROWD = 1000


FREE = {"power_watts": 0.1, "avg_latency_ms": 1, "max_tokens_per_second": 200_000}


@pytest.fixture
def daemon(tmp_path: Path, upstream: Upstream) -> Iterator[CountedDaemon]:
    good = backend(
        "good", f"{upstream.url}/good/openai/1", "openai", slots=1024, flavor="llamacpp", characteristics=CHEAP
    )
    slow = backend(
        "slow", f"{upstream.url}/c/stall_after_10/openai/v/gone", "openai", slots=1024, characteristics=CHEAP
    )
    paused = backend(
        "paused",
        f"{upstream.url}/c/pauses_within_bounds/ollama/p/paused",
        "ollama",
        slots=2,
        characteristics=CHEAP,
    )
    flapping = backend(
        "flapping", f"{upstream.url}/c/fails_every_second_time/openai/f/m1", "openai", "npu", characteristics=FREE
    )
    started = CountedDaemon(
        tmp_path,
        [good, slow, paused, flapping],
        server={"max_in_flight": 2000},
        upstream={"idle_s": 60, "connect_s": 10},
    )
    started.ready_with("good", "slow", "paused", "flapping")
    yield started
    started.stop()


async def vanish(port: int, number: int, chance: random.Random) -> None:
    """A client that leaves: before its request is complete, before the answer, or in the middle of it."""
    sent = request("openai" if number % 2 else "ollama", "gone", stream=number % 3 > 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent[: len(sent) // 2] if number % 5 == 0 else sent)
    await writer.drain()
    if number % 5 > 1:
        await asyncio.sleep(chance.random() / 2)
    if number % 7 == 0:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    writer.close()


async def test_clients_that_vanish_leave_nothing_behind(daemon: CountedDaemon) -> None:
    chance = random.Random(0)
    before = daemon.books()

    def work(number: int) -> Any:
        return lambda: vanish(daemon.port, number, chance)

    await each_within(50, map(work, range(VANISHING)))

    def is_back(books: Any) -> bool:
        return not books.in_flight and books.tasks <= before.tasks and books.fds <= before.fds + 4

    after = await asyncio.to_thread(daemon.settled, is_back)
    assert is_back(after), (before, after)
    assert set(daemon.in_flight().values()) == {0}


async def test_a_thousand_streams_at_once_are_all_whole(daemon: CountedDaemon, record_property: Any) -> None:
    before = daemon.books()
    seen = await asyncio.gather(
        *(
            ask(daemon.port, Asked("openai" if number % 2 else "ollama", "m1", True), bound_s=100)
            for number in range(CROWD)
        )
    )
    whole = sum(each.outcome is Outcome.WHOLE for each in seen)
    record_property("shown", f"{whole} of {CROWD} streams at once are whole")
    assert [each for each in seen if each.outcome is not Outcome.WHOLE][:3] == []
    after = await asyncio.to_thread(daemon.settled, lambda books: books.fds <= before.fds + 4)
    assert (after.in_flight, after.fds <= before.fds + 4) == (0, True), (before, after)


async def asked_in_all_ways(daemon: CountedDaemon, count: int) -> list[str]:
    """What became of requests of both models in both dialects, streamed and whole."""
    seen = await asyncio.gather(
        *(
            ask(daemon.port, Asked(("openai", "ollama")[number % 2], ("paused", "m1")[number % 3 > 0], number % 4 < 2))
            for number in range(count)
        )
    )
    return [f"{each.status} {each.why}" for each in seen if each.outcome is not Outcome.WHOLE]


async def test_a_wall_clock_that_leaps_breaks_no_answer_no_queue_and_no_breaker(daemon: CountedDaemon) -> None:
    asked = asyncio.create_task(asked_in_all_ways(daemon, 30))
    leaps = 0
    while not asked.done():
        daemon.set_clock(LEAPS_S[leaps % len(LEAPS_S)])
        leaps += 1
        await asyncio.sleep(0.1)
    assert leaps > len(LEAPS_S), "it leapt in the middle of answers"
    assert await asked == []
    daemon.set_clock(-HOUR_S)
    assert await asked_in_all_ways(daemon, 6) == []
    await asyncio.to_thread(daemon.settled, lambda books: not books.in_flight)
    assert set(daemon.in_flight().values()) == {0}
    assert "Traceback" not in daemon.log.read_text()


async def test_a_full_disk_costs_no_answer_and_no_choice(daemon: CountedDaemon) -> None:
    """No file may grow, neither the state nor the history nor the log."""
    before = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    for mode in ("Quiet", "Performance"):
        assert (await asyncio.to_thread(daemon.post, "/efficiency", {"mode": mode})).status == 200
        assert await asked_in_all_ways(daemon, 12) == []
        assert daemon.get("/efficiency").json()["mode"] == mode
    assert [each for each in daemon.folder.rglob("state.json") if "Performance" in each.read_text()] == [], "full"
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, before)
    assert await asked_in_all_ways(daemon, 12) == []
    log = daemon.log.read_text()
    assert "Traceback" not in log
    assert sum("state.json" in line for line in log.splitlines()) <= 1, log
    assert (await asyncio.to_thread(daemon.post, "/efficiency", {"mode": "Balanced"})).status == 200
    state = next(daemon.folder.rglob("state.json"))
    await asyncio.to_thread(wait_until, lambda: "Balanced" in state.read_text(), "the state is written again")
