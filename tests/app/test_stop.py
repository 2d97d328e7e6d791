"""What a client meets while the daemon stops."""

import asyncio

import pytest

from ollama_proxyd.app.idle_exit import SETTLE_S
from ollama_proxyd.edges.plumbing.clock import SystemClock
from tests.app.conftest import Start

ASK = b'{"model": "demo", "prompt": "hi", "stream": false}'
HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    """The status line of an answer on an open connection."""
    streams[1].write(HEAD % len(ASK) + ASK)
    line = await streams[0].readline()
    await streams[0].readuntil(b"}")
    return line


async def test_a_client_that_was_accepted_before_the_stop_is_served_and_a_later_one_is_not(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start({"sensors": {"enabled": False}})
    place = running.daemon.url.removeprefix("http://").split(":")
    early = await asyncio.open_connection(*place)
    assert await running.text("/healthz")  # connections are accepted in turn, so that one is accepted, too
    sleep = SystemClock.sleep
    answers: list[bytes] = []

    async def asked_meanwhile(clock: SystemClock, seconds: float) -> None:
        if seconds != SETTLE_S:
            await sleep(clock, seconds)
            return
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*place)
        answers.append(await ask(early))

    monkeypatch.setattr(SystemClock, "sleep", asked_meanwhile)
    await running.daemon.stop()
    assert answers == [b"HTTP/1.1 200 OK\r\n"]
    early[1].close()
