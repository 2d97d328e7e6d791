"""What clients meet when the daemon stops: who is still served, and what those are told that are not."""

import asyncio
from typing import Any

import pytest

from ollama_proxyd.app.idle_exit import SETTLE_S
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.edges.host.units import UserUnits
from ollama_proxyd.edges.plumbing.clock import SystemClock
from tests.app.conftest import Start

ASK = b'{"model": "demo", "prompt": "hi", "stream": false, "options": {"num_predict": 1}}'
HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
CALM: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}}
STORY: dict[str, Any] = {"model": "demo-large", "prompt": "tell me a long story", "options": {"num_predict": 4000}}


async def test_an_answer_that_the_stop_cuts_off_says_so_and_blames_no_backend(start: Start) -> None:
    running = await start(CALM)
    url, fleet, ended = f"{running.daemon.url}/api/generate", running.services.fleet, list[Any]()
    fleet.attempts.listen(lambda attempt: ended.append(attempt.error))
    elsewhere = {"X-Target-Backend": "cpu"}
    waiting = asyncio.create_task(running.client.post(url, json={**STORY, "stream": False}, headers=elsewhere))
    async with running.client.post(url, json=STORY) as streaming:
        await streaming.content.readline()
        await running.until(fleet.views, lambda views: sum(view.in_flight for view in views) == 2)
        await running.daemon._foundation.drain(0)
        assert b"cut off: the proxy stops" in (await streaming.read()).splitlines()[-1]
    async with await waiting as whole:
        assert whole.status == 503
        assert "cut off: the proxy stops" in (await whole.json())["error"]
    assert ended == [ErrorKind.UNAVAILABLE, ErrorKind.UNAVAILABLE]


async def test_a_request_that_waits_for_a_backend_when_the_daemon_stops_is_told_so(start: Start) -> None:
    running = await start(CALM)
    url, at_npu = f"{running.daemon.url}/api/generate", {"X-Target-Backend": "npu"}
    async with running.client.post(url, json={**STORY, "model": "demo"}, headers=at_npu) as streaming:
        await streaming.content.readline()
        waiting = asyncio.create_task(running.client.post(url, json={**STORY, "model": "demo"}, headers=at_npu))
        await running.until(running.services.admission.waiting, lambda count: count == 1)
        await running.daemon._foundation.drain(0)
        async with await waiting as refused:
            assert refused.status == 503
            assert (await refused.json())["error"] == "the proxy stops"


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    """The status line of an answer on an open connection."""
    streams[1].write(HEAD % len(ASK) + ASK)
    line = await streams[0].readline()
    await streams[0].readuntil(b"}")
    return line


async def test_a_client_that_was_accepted_before_the_stop_is_served_and_a_later_one_is_not(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(CALM)
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


async def test_a_stop_in_the_middle_of_a_reload_is_the_last_word_to_the_service_manager(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(CALM)
    daemon, said, begun = running.daemon, list[str](), asyncio.Event()

    async def survey(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(daemon._sources, "survey", survey)
    monkeypatch.setattr(daemon._status._notifier, "tell", lambda **words: said.extend(words))
    daemon.ask_reload()
    await begun.wait()
    await daemon.stop()
    assert "READY" not in said[said.index("STOPPING") :]


async def test_what_was_learned_outlives_a_restart(start: Start) -> None:
    first = await start(CALM)
    await first.chat("npu")
    await first.daemon.stop()
    second = await start(CALM)
    await second.services.history.recent(1)  # questions are answered one after the other
    assert second.services.fleet.view("npu").speeds


@pytest.mark.parametrize(("written", "keeps"), [(CALM, True), ({"backends": "none"}, False)])
async def test_a_restart_keeps_engines_only_for_a_daemon_that_will_take_the_configuration(
    start: Start, lines: list[str], monkeypatch: pytest.MonkeyPatch, written: dict[str, Any], keeps: bool
) -> None:
    kept: list[bool] = []

    class Own:
        async def close(self, *, keeps_units: bool) -> None:
            kept.append(keeps_units)

    async def is_restarting(_units: UserUnits, _pid: int) -> bool:
        return True

    monkeypatch.setattr(UserUnits, "is_restarting", is_restarting)
    running = await start(CALM)
    monkeypatch.setattr(running.daemon._foundation.engines, "_own", Own())
    running.write(written)
    await running.daemon.stop()
    assert kept == [keeps]
    assert any("does not take the configuration" in line for line in lines) is not keeps
