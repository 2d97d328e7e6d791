"""Detection: engines are told by what they answer, never by their port."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends import detect as detect_module
from ollama_proxyd.edges.backends.detect import KNOWN_PORTS, detect
from ollama_proxyd.edges.backends.fingerprints import FINGERPRINTS, Answer, recognise
from ollama_proxyd.edges.backends.flavors import FLAVORS
from tests.upstreams.engines import ENGINES, STRANGERS
from tests.upstreams.fake_engines import RawServer, playing, serving


@pytest.mark.parametrize("flavor", ENGINES)
async def test_an_engine_is_recognised_by_what_it_answers(flavor: str) -> None:
    async with serving(ENGINES[flavor]()) as engine:
        (found,) = await detect([engine.port])
    assert found.spec.flavor == flavor
    assert found.spec.api is (Api.OLLAMA if flavor == "ollama" else Api.OPENAI)
    assert found.spec.id == f"{flavor}-{engine.port}"
    assert found.spec.endpoint == engine.url


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_what_is_no_engine_is_no_backend(stranger: str) -> None:
    async with serving(STRANGERS[stranger]()) as engine:
        assert await detect([engine.port]) == ()


async def test_a_llama_server_that_still_loads_its_model_is_recognised() -> None:
    answers = {"/props": Answer(503, {"server": "llama.cpp"}, json={"error": {"message": "Loading model"}})}
    found = recognise(answers)
    assert found is not None
    assert found.flavor == "llamacpp"


async def test_what_was_found_says_how_and_that_its_device_is_unknown() -> None:
    async with serving(ENGINES["llamacpp"]()) as engine:
        (found,) = await detect([engine.port])
    assert found.spec.hardware is Hardware.UNKNOWN
    assert found.how == (
        f"llamacpp-{engine.port} was recognised as llama-server because /props and its Server header are llama.cpp's; "
        "which device it runs on is not known"
    )


async def test_nothing_listens_and_nothing_is_found() -> None:
    assert await detect([1, 2, 3]) == ()


async def test_where_nothing_listens_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def look(client: object, host: str, port: int) -> None:
        asked.append(port)

    monkeypatch.setattr(detect_module, "_look", look)
    async with serving(ENGINES["ollama"]()) as engine:
        await detect([1, engine.port, 2, engine.port])
        assert asked == [engine.port]


async def test_servers_that_never_answer_do_not_hold_up_the_others() -> None:
    async def mute(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def drips(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(playing(mute))
        dripping = await stack.enter_async_context(playing(drips))
        engines = [await stack.enter_async_context(serving(ENGINES[name]())) for name in ("ollama", "llamacpp")]
        started_s = time.monotonic()
        found = await detect([silent.port, dripping.port, *(engine.port for engine in engines)])
        assert [each.spec.flavor for each in found] == ["ollama", "llamacpp"]
        assert time.monotonic() - started_s < 5, "the promise is one second; a busy machine gets more"


async def test_a_server_is_only_asked_with_get() -> None:
    async with serving(ENGINES["ollama"]()) as engine:
        await detect([engine.port])
    assert {asked.method for asked in engine.asked} == {"GET"}


def test_every_flavor_that_is_detected_has_its_row() -> None:
    backends = [sign for sign in FINGERPRINTS if sign.kind is Api.OPENAI]
    assert {sign.flavor for sign in backends} <= set(FLAVORS)


def test_the_daemons_own_sign_comes_first_and_the_commonest_one_last() -> None:
    assert FINGERPRINTS[0].kind is None
    assert FINGERPRINTS[-1].flavor == "generic"


def test_no_port_is_listed_twice() -> None:
    assert len(set(KNOWN_PORTS)) == len(KNOWN_PORTS)
