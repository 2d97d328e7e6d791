"""Detection: engines are told by what they answer, never by their port."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from yarl import URL

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends import detect as detect_module
from ollama_proxyd.edges.backends.detect import Detected, Look, detect, detect_late
from ollama_proxyd.edges.backends.engine import Answer
from ollama_proxyd.edges.backends.engines import KNOWN_PORTS, SIGNS, recognise
from tests.upstreams.engines import ENGINES, STRANGERS
from tests.upstreams.fake_engines import FakeEngine, RawServer, playing, serving


async def patiently(ports: list[int]) -> tuple[Detected, ...]:
    """What is found where no answer is late."""
    return (await detect(ports, limit_s=60)).found


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("flavor", ENGINES)
async def test_an_engine_is_recognised_by_what_it_answers(flavor: str) -> None:
    async with serving(ENGINES[flavor]()) as engine:
        (found,) = await patiently([engine.port])
    assert found.spec.flavor == flavor
    assert found.spec.api is (Api.OLLAMA if flavor == "ollama" else Api.OPENAI)
    assert found.spec.id == f"{flavor}-{engine.port}"
    assert found.spec.endpoint == engine.url


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_what_is_no_engine_is_no_backend(stranger: str) -> None:
    async with serving(STRANGERS[stranger]()) as engine:
        assert await patiently([engine.port]) == ()


async def test_a_llama_server_that_still_loads_its_model_is_recognised() -> None:
    answers = {"/props": Answer(503, {"server": "llama.cpp"}, json={"error": {"message": "Loading model"}})}
    found = recognise(answers)
    assert found is not None
    assert found[0].name == "llamacpp"


async def test_an_answer_that_comes_late_makes_no_engine_a_commoner_one() -> None:
    engine = ENGINES["koboldcpp"]()
    engine.routes["GET /api/extra/version"] = never
    async with serving(engine):
        assert await detect([engine.port], limit_s=0.2) == Look(late=frozenset({engine.port}))


async def test_what_answers_all_and_is_no_engine_is_not_late() -> None:
    async with serving(FakeEngine({})) as stranger:
        assert await detect([stranger.port], limit_s=60) == Look()


def test_a_sign_that_was_seen_needs_no_answer_to_commoner_ones() -> None:
    version = Answer(200, json={"result": "KoboldCpp"})
    found = recognise({"/version": Answer(404), "/api/extra/version": version, "/props": None})
    assert found is not None
    assert found[0].name == "koboldcpp"


@pytest.mark.parametrize(("look", "most_at_once"), [(detect, 4), (detect_late, 1)])
async def test_a_server_with_a_short_listen_queue_is_asked_a_few_things_at_a_time(
    look: Callable[[list[int]], Awaitable[Look]], most_at_once: int
) -> None:
    most = 0
    under_way = 0

    async def counts(request: web.Request) -> web.Response:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return web.Response(status=404)

    engine = FakeEngine({f"GET {sign.path}": counts for _, sign in SIGNS})
    async with serving(engine):
        await look([engine.port])
    assert 0 < most <= most_at_once


async def test_what_was_found_says_how_and_that_its_device_is_unknown() -> None:
    async with serving(ENGINES["llamacpp"]()) as engine:
        (found,) = await patiently([engine.port])
    assert found.spec.hardware is Hardware.UNKNOWN
    assert found.how == (
        f"llamacpp-{engine.port} was recognised as llama-server because /props and its Server header are llama.cpp's; "
        "which device it runs on is not known"
    )


async def test_nothing_listens_and_nothing_is_found() -> None:
    assert await detect([1, 2, 3]) == Look()


async def test_where_nothing_listens_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def answers_of(client: object, root: URL, who: str, limit_s: float, at_once: int) -> dict[str, Answer | None]:
        asked.append(root.port or 0)
        return {"/": None}

    monkeypatch.setattr(detect_module, "answers_of", answers_of)
    async with serving(ENGINES["ollama"]()) as engine:
        await detect([1, engine.port, 2, engine.port])
        assert asked == [engine.port]


async def test_servers_that_never_answer_do_not_hold_up_the_others() -> None:
    engines = [ENGINES[name]() for name in ("ollama", "llamacpp")]

    async def mute(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def drips(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async def comes_last(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not all(engine.asked for engine in engines):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with AsyncExitStack() as stack:
        last = await stack.enter_async_context(playing(comes_last))
        silent = await stack.enter_async_context(playing(mute))
        dripping = await stack.enter_async_context(playing(drips))
        ports = [(await stack.enter_async_context(serving(engine))).port for engine in engines]
        look = await detect([last.port, silent.port, dripping.port, *ports], limit_s=3)
        assert [each.spec.flavor for each in look.found] == ["ollama", "llamacpp"]
        assert look.late == {silent.port, dripping.port}


async def test_a_server_is_only_asked_with_get() -> None:
    async with serving(ENGINES["ollama"]()) as engine:
        await detect([engine.port])
    assert {asked.method for asked in engine.asked} == {"GET"}


def test_the_daemons_own_sign_comes_first_and_the_commonest_one_last() -> None:
    assert SIGNS[0][0].api is None
    assert SIGNS[-1][0].name == "generic"


def test_no_port_is_listed_twice() -> None:
    assert len(set(KNOWN_PORTS)) == len(KNOWN_PORTS)
