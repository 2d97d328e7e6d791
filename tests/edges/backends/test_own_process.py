"""What asks one process of Ollama that the proxy runs: for one model, which the proxy alone has it load and leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.ollama import parse as ollama
from ollama_proxyd.dialects.openai import parse as openai
from ollama_proxyd.edges.backends.process import OwnProcess
from ollama_proxyd.edges.plumbing.http import Timeouts
from tests.upstreams.engines import ENGINES
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving, spec_of
from tests.upstreams.ollama_program import BROKEN, GONE

LOADED = {"model": "m", "created_at": "x", "response": "", "done": True, "done_reason": "load"}
HI = [{"role": "user", "content": "hi"}]
WORDS = {"model": "m", "created_at": "x", "message": {"role": "assistant", "content": "hi"}, "done": True}


@asynccontextmanager
async def process_of(**routes: Any) -> AsyncIterator[tuple[OwnProcess, FakeEngine]]:
    """A process for the model `m`; `routes`: what it says to a POST, by the end of the path."""
    engine = FakeEngine({f"POST /api/{name}": says for name, says in routes.items()})
    async with serving(engine), a_client() as client:
        yield OwnProcess(spec_of(engine.url, Api.OLLAMA, "ollama"), client, "", "m"), engine


def posted(engine: FakeEngine) -> list[tuple[str, Any]]:
    return [(each.path, each.json) for each in engine.asked if each.method == "POST"]


async def test_a_model_is_loaded_for_ever_by_an_empty_request() -> None:
    async with process_of(generate=Says(LOADED)) as (process, engine):
        await process.settle("m")
        assert posted(engine) == [("/api/generate", {"model": "m", "keep_alive": -1, "stream": False})]


async def test_a_model_that_only_embeds_is_loaded_by_no_input() -> None:
    refused = Says({"error": '"m" does not support generate'}, 400)
    async with process_of(generate=refused, embed=Says({"model": "m", "embeddings": []})) as (process, engine):
        await process.settle("m")
        assert posted(engine)[1] == ("/api/embed", {"model": "m", "input": [], "keep_alive": -1})


async def test_a_load_may_take_longer_than_an_answer_may() -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return Says(LOADED).response()

    engine = FakeEngine({"POST /api/generate": slow})
    async with serving(engine), a_client(Timeouts(first_byte_s=0.2, probe_s=0.2)) as client:
        await OwnProcess(spec_of(engine.url, Api.OLLAMA, "ollama"), client, "", "m").settle("m")


async def test_a_load_that_fails_is_not_tried_another_way() -> None:
    large = Says({"error": "model requires more system memory (9.9 GiB) than is available (7.6 GiB)"}, 500)
    async with process_of(generate=large, embed=Says(LOADED)) as (process, engine):
        with pytest.raises(ProxyError, match="requires more system memory"):
            await process.settle("m")
        assert len(posted(engine)) == 1


async def test_a_model_that_no_way_loads_is_told() -> None:
    refused = Says({"error": "bad"}, 400)
    async with process_of(generate=refused, embed=refused) as (process, _):
        with pytest.raises(ProxyError, match="bad"):
            await process.settle("m")


async def test_of_a_store_of_many_its_own_model_alone_is_asked_about() -> None:
    engine = ENGINES["ollama"]()
    (first, *_) = json.loads(json.dumps(engine.routes["GET /api/tags"].body))["models"]
    listed = {"models": [{**first, "name": name, "model": name} for name in ("a", "m", "z")]}
    engine.routes["GET /api/tags"] = Says(listed)
    async with serving(engine), a_client() as client:
        probe = await OwnProcess(spec_of(engine.url, Api.OLLAMA, "ollama"), client, "", "m").probe()
        assert [each.name for each in probe.models] == ["m"]
        assert [body["model"] for _, body in posted(engine)] == ["m"]


def asked(**fields: Any) -> Request:
    return ollama.parse_chat(json.dumps({"model": "m", "messages": HI, "stream": False, **fields}).encode(), Hints())


async def sent(request: Request) -> tuple[Any, tuple[str, ...]]:
    """What the process gets, and what the client is told that it does not."""
    async with process_of(chat=Says(WORDS)) as (process, engine):
        async with aclosing(process.answer(request, "m")) as events:
            told = [event async for event in events]
        assert isinstance(told[0], Accepted)
        return posted(engine)[0][1], told[0].ignored_fields


async def test_what_would_load_the_model_anew_is_left_out_and_told() -> None:
    options = {"num_ctx": 99, "temperature": 0, "num_gpu": 1, "use_mmap": False, "num_predict": 3}
    body, ignored = await sent(asked(options=options))
    assert body["options"] == {"temperature": 0, "num_predict": 3}
    assert ignored == ("options.num_ctx", "options.num_gpu", "options.use_mmap")


@pytest.mark.parametrize("stays", [0, "5m", -1, "0s", 300])
async def test_no_client_says_how_long_the_model_stays(stays: Any) -> None:
    body, ignored = await sent(asked(keep_alive=stays))
    assert (body["keep_alive"], ignored) == (-1, ("keep_alive",))


async def test_a_request_without_such_fields_passes_as_it_is() -> None:
    request = asked(options={"temperature": 0.5})
    async with process_of(chat=Says(WORDS)) as (process, engine):
        async with aclosing(process.answer(request, "m")) as events:
            _ = [event async for event in events]
        assert engine.asked[-1].body == request.body


async def test_a_request_of_another_dialect_is_held_to_the_same() -> None:
    text = json.dumps({"model": "m", "messages": HI, "num_ctx": 77, "keep_alive": 0}).encode()
    body, _ = await sent(openai.parse_chat(text, Hints()))
    assert "num_ctx" not in body.get("options", {})
    assert body.get("keep_alive", -1) == -1


@pytest.mark.parametrize(
    ("words", "is_its_runner"),
    [
        (BROKEN, True),
        (GONE, True),
        ("llama-server process has terminated: signal: killed", True),
        ("llama runner process has terminated: exit status 2", True),
        ("llama-server process no longer running: -1", True),
        ("model 'm' not found", False),
        ("model requires more system memory (9.9 GiB) than is available (7.6 GiB)", False),
    ],
)
async def test_a_runner_that_has_ended_is_known_by_ollamas_words(words: str, is_its_runner: bool) -> None:
    async with process_of() as (process, _):
        assert process.starts_anew(ProxyError(ErrorKind.UPSTREAM_FAILED, words)) is is_its_runner
