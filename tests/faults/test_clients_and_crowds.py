"""Clients that vanish, a thousand of them at once, and a machine whose clock or disk is odd."""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import backend
from tests.faults.client import Asked, Outcome, ask, request
from tests.faults.rig import CHEAP, CountedDaemon, Upstream, each_within

VANISHING = 500
CROWD = 1000


@pytest.fixture
def daemon(tmp_path: Path, upstream: Upstream) -> Iterator[CountedDaemon]:
    good = backend(
        "good", f"{upstream.url}/good/openai/1", "openai", slots=1024, flavor="llamacpp", characteristics=CHEAP
    )
    slow = backend(
        "slow", f"{upstream.url}/c/stall_after_10/openai/v/gone", "openai", slots=1024, characteristics=CHEAP
    )
    started = CountedDaemon(
        tmp_path, [good, slow], server={"max_in_flight": 2000}, upstream={"idle_s": 60, "connect_s": 10}
    )
    started.ready_with("good", "slow")
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
