"""Features that are on change what an Ollama engine is really sent, and nothing else does."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.features import EngineWishes, Feature
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.services.cell import Cell
from tests.edges.backends.test_exchange import API_CHAT, CHAT, NDJSON, SSE, gather, ollama_request, openai_request
from tests.upstreams.fake_engines import FakeEngine, a_client, serving, spec_of, streams
from tests.upstreams.frames import OLLAMA_STREAM, OPENAI_STREAM

ALL = EngineWishes(frozenset(Feature), threads=6)


async def sent(request: Request, wishes: EngineWishes, *, api: Api = Api.OLLAMA, times: int = 1) -> list[Any]:
    """What the engine got, as the flags were switched before it was asked."""
    answers = {API_CHAT: streams(OLLAMA_STREAM, content_type=NDJSON), CHAT: streams(OPENAI_STREAM, content_type=SSE)}
    async with serving(FakeEngine(answers)) as engine, a_client() as client:
        spec, now = replace(spec_of(engine.url, api), hardware=Hardware.CPU), Cell(EngineWishes())
        backend = EngineBackend(spec, client, None, now)
        now.set(wishes)

        async def one() -> None:
            await gather([], backend, request)

        await asyncio.gather(*(one() for _ in range(times)))
        return [json.loads(each.body) for each in engine.asked]


async def test_a_request_of_ollamas_own_clients_gets_the_options_it_left_open() -> None:
    (body,) = await sent(ollama_request(options={"temperature": 0, "num_thread": 2}, keep_alive=5), ALL)
    assert body["options"] == {"temperature": 0, "num_thread": 2, "use_mmap": True, "num_ctx": 512}
    assert (body["keep_alive"], body["messages"]) == (5, [{"role": "user", "content": "hi"}])


async def test_a_translated_request_gets_them_too() -> None:
    (body,) = await sent(openai_request(max_tokens=600), ALL)
    assert body["options"] == {"num_predict": 600, "use_mmap": True, "num_thread": 6, "num_ctx": 1024}


@pytest.mark.parametrize("given", [None, {}, {"num_ctx": None}])
async def test_without_options_there_are_those_alone(given: Any) -> None:
    request = ollama_request() if given is None else ollama_request(options=given)
    (body,) = await sent(request, EngineWishes(frozenset({Feature.LEAN_CONTEXT})))
    assert body["options"]["num_ctx"] == 512


async def test_with_nothing_switched_on_the_clients_bytes_pass() -> None:
    request = ollama_request(options={"num_ctx": 9000})
    (body,) = await sent(request, EngineWishes(threads=6))
    assert body == json.loads(request.body)


async def test_an_engine_of_another_kind_gets_none() -> None:
    (body,) = await sent(openai_request(), ALL, api=Api.OPENAI)
    assert not {"options", "num_ctx", "use_mmap"} & body.keys()


async def test_twenty_at_once() -> None:
    bodies = await sent(ollama_request(), ALL, times=20)
    assert [each["options"] for each in bodies] == [{"use_mmap": True, "num_thread": 6, "num_ctx": 512}] * 20
