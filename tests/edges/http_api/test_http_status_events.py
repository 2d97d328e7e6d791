"""GET /status/events: the status at once, and again when something in it has changed."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from itertools import count, cycle
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.edges.http_api import status_events
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.tasks import Tasks
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, reference_fleet, reload
from tests.reasons import unavailable

WITHIN_S = 20


class Listener:
    """A client that reads the stream."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply

    async def piece(self) -> str:
        """The next event or comment, "" at the end."""
        async with asyncio.timeout(WITHIN_S):
            lines = []
            while (line := (await self.reply.content.readline()).decode()) not in {"\n", ""}:
                lines.append(line)
        return "".join(lines)

    async def next(self) -> Any:
        """The next status."""
        piece = await self.piece()
        assert piece.startswith("data: "), piece
        return json.loads(piece.removeprefix("data: "))

    async def silent(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                return not await self.reply.content.read(1)
        except TimeoutError:
            return True


@asynccontextmanager
async def listening(site: Site, **options: Any) -> AsyncIterator[Listener]:
    async with site.client.get("/status/events", **options) as reply:
        assert reply.status == 200
        yield Listener(reply)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_events, "MEASURED_EVERY_S", 0.02)


async def until(true: Callable[[], bool], every_s: float = 0.005) -> None:
    """Wait for what the server does by itself."""
    async with asyncio.timeout(WITHIN_S):
        while not true():  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(every_s)


def listening_tasks() -> int:
    """How many tasks work for those who listen."""
    return sum(task.get_name().startswith("status") for task in asyncio.all_tasks())


async def admitted(session: aiohttp.ClientSession, replies: list[aiohttp.ClientResponse]) -> bool:
    """Whether one more may listen."""
    replies.append(await session.get("/status/events"))
    return replies[-1].status == 200


def know(site: Site, **parts: Any) -> None:
    site.services.system.set(SystemState(**{name: Reading(value, 0.0) for name, value in parts.items()}))


async def test_the_status_is_told_at_once_as_a_stream_of_events(serve: Serve) -> None:
    site = await serve()
    async with listening(site) as listener:
        assert listener.reply.headers["Content-Type"] == "text/event-stream"
        assert listener.reply.headers["Cache-Control"] == "no-store"
        whole = (await site.get("/status")).json
        for modelds in ("instances", "state", "last_error", "uptime_seconds", "server_time_unix"):
            del whole[modelds]  # for its clients, which ask and do not listen
        assert await listener.next() == whole


async def test_another_mode_is_told_at_once_even_when_something_was_told_just_before(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_events, "MEASURED_EVERY_S", 600)
    site = await serve()
    async with listening(site) as listener:
        await listener.next()
        for mode in (Mode.QUIET, Mode.PERFORMANCE, Mode.BALANCED):
            site.services.governor.select(mode)
            assert (await listener.next())["mode"] == mode.value


async def test_measurements_are_told_at_most_once_in_a_while_and_the_last_one_counts(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_events, "MEASURED_EVERY_S", 0.3)
    site = await serve()
    loop = asyncio.get_running_loop()
    async with listening(site) as listener:
        await listener.next()
        began_s = loop.time()
        for hottest_c in (50.0, 51.0, 52.0):
            know(site, hottest_c=hottest_c)
            await asyncio.sleep(0.01)
        told = [await listener.next()]
        while told[-1]["system"]["hottest_celsius"] != 52.0:
            told.append(await listener.next())
        assert len(told) * 0.3 <= loop.time() - began_s + 0.1


@pytest.mark.usefixtures("quick")
async def test_a_request_is_told_when_it_begins_and_when_it_has_ended(serve: Serve) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("npu", gate, *FakeBackend("npu").script)
    site = await serve(backend)
    async with listening(site) as listener:
        await listener.next()
        asked = asyncio.create_task(site.chat())
        await backend.opened.wait()
        told = await listener.next()
        assert (told["backends"][0]["in_flight"], told["today"]["requests"]) == (1, 0)
        gate.set()
        await asked
        while told["today"]["requests"] == 0:
            told = await listener.next()
        assert told["last_decision"]["backend"] == "npu"


@pytest.mark.usefixtures("quick")
async def test_a_backend_that_is_switched_off_is_told(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    async with listening(site) as listener:
        await listener.next()
        await site.post("/backends/cpu", {"enabled": False})
        assert (await listener.next())["backends"][3]["enabled"] is False


@pytest.mark.usefixtures("quick")
async def test_after_a_reload_the_new_backends_are_followed(serve: Serve) -> None:
    site = await serve()
    async with listening(site) as listener:
        await listener.next()
        await reload(site.services, FakeBackend("cpu"))
        assert [each["id"] for each in (await listener.next())["backends"]] == ["cpu"]
        site.services.fleet.set_enabled("cpu", False)
        assert (await listener.next())["backends"][0]["enabled"] is False


@pytest.mark.usefixtures("quick")
async def test_what_changes_nothing_in_the_status_is_not_told(serve: Serve) -> None:
    site = await serve()
    async with listening(site) as listener:
        await listener.next()
        for at_s in (1.0, 2.0, 3.0):
            site.services.system.set(SystemState(hottest_c=Reading(50.0, at_s)))
            await asyncio.sleep(0.05)
        assert (await listener.next())["system"]["hottest_celsius"] == 50.0
        assert await listener.silent(0.2)


async def test_a_quiet_stream_shows_that_it_lives(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_events, "ALIVE_EVERY_S", 0.02)
    monkeypatch.setattr(status_events, "MEASURED_EVERY_S", 0.01)
    async with listening(await serve()) as listener:
        await listener.next()
        assert await listener.piece() == ": nothing new\n"


async def test_a_stream_shows_that_it_lives_where_much_happens_that_changes_nothing_in_the_status(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_events, "ALIVE_EVERY_S", 0.2)
    monkeypatch.setattr(status_events, "MEASURED_EVERY_S", 0.01)
    site = await serve()
    site.services.system.set(SystemState(hottest_c=Reading(50.0, 0.0)))

    async def read_the_same_again() -> None:
        for at_s in count(1):
            site.services.system.set(SystemState(hottest_c=Reading(50.0, float(at_s))))
            await asyncio.sleep(0.02)

    async with Tasks("test") as tasks, listening(site) as listener:
        tasks.start("sensor", read_the_same_again())
        await listener.next()
        for _ in range(3):
            assert await listener.piece() == ": nothing new\n"


def taken(streams: status_events.EventStreams, seats: ExitStack, program: str) -> int:
    """How many seats a program gets."""
    for number in range(status_events.MOST_LISTENERS):
        try:
            seats.enter_context(streams.seat(program))
        except ProxyError:
            return number
    return status_events.MOST_LISTENERS


def test_each_program_leaves_as_many_seats_as_it_has_and_every_further_one_gets_some() -> None:
    streams = status_events.EventStreams()
    with ExitStack() as seats:
        got = [taken(streams, seats, program) for program in ("greedy", "as greedy", "third", "browser")]
    assert got == [8, 4, 2, 1]
    with streams.seat("greedy"):
        pass


async def test_only_so_many_may_listen_and_a_seat_is_free_again_when_one_leaves(serve: Serve) -> None:
    site = await serve()
    sessions = [aiohttp.ClientSession(site.server.url) for _ in range(status_events.MOST_LISTENERS // 2)]
    try:
        replies = [await session.get("/status/events") for session in sessions]
        refused = await site.get("/status/events")
        assert refused.status == 503
        assert "this process has 8 event streams, and leaves 8 for others" in refused.json["error"]
        replies.pop(0).close()
        async with asyncio.timeout(WITHIN_S):
            while (await admitted(sessions[0], replies)) is False:  # noqa: ASYNC110 - the server notices by itself
                await asyncio.sleep(0.005)
    finally:
        for reply in replies:
            reply.close()
        for session in sessions:
            await session.close()


async def test_the_stream_ends_cleanly_when_the_server_stops(serve: Serve) -> None:
    site = await serve()
    async with listening(site) as listener:
        await listener.next()
        stopping = asyncio.create_task(site.server.refuse_new())
        assert await listener.piece() == ""
        await stopping
    await asyncio.wait_for(site.server.stop(), WITHIN_S)


async def test_nothing_is_left_running_when_a_listener_has_left(serve: Serve) -> None:
    site = await serve()
    async with listening(site) as listener:
        await listener.next()
        assert listening_tasks() > 0
    await until(lambda: listening_tasks() == 0)


async def test_a_listener_that_takes_nothing_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_events, "WRITE_S", 0.05)
    site = await serve()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.server.port))
        deaf.sendall(b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: listening_tasks() > 0)
        site.services.system.set(SystemState(hottest_c=unavailable("long " * 100_000)))
        modes = cycle((Mode.QUIET, Mode.BALANCED))

        def is_given_up() -> bool:
            site.services.governor.select(next(modes))
            return listening_tasks() == 0

        await until(is_given_up)
        await until(lambda: site.server.connections == 0)


async def test_who_may_ask_no_more_is_told_no_more(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="old", drain_s=0.2))
    async with listening(site, headers={"Authorization": "Bearer old"}) as listener:
        await listener.next()
        site.server.reconfigure(ServerSettings(token="new"))
        assert (await listener.piece()).startswith("event: error\ndata: {")
        assert await listener.piece() == ""


async def test_there_is_no_head_of_a_stream_that_never_ends(serve: Serve) -> None:
    assert (await (await serve()).ask("HEAD", "/status/events")).status == 405


@pytest.mark.usefixtures("quick")
async def test_each_request_s_way_is_told_to_those_who_ask_for_it(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    async with site.client.get("/status/events?requests") as reply:
        listener = Listener(reply)
        await listener.next()
        await site.chat()
        kind, _, data = (await listener.piece()).partition("\ndata: ")
        told = json.loads(data)
    assert (kind, told["backend"]) == ("event: request", "npu")
    assert told["reason"] == (await site.get("/status")).json["last_decision"]["reason"]
