"""Engines are had to let go of a model, each in its own way, and not while it works for another program."""

import pytest

from ollama_proxyd.core.errors import IN_USE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.requests import Api, Hints
from ollama_proxyd.dialects.ollama.parse import parse_generate
from ollama_proxyd.edges.backends.backend import EngineBackend
from tests.upstreams.engines import ENGINES
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving, spec_of

ROUTER = {"role": "router", "max_instances": 2, "build_info": "b11669-Debian"}


def router(*, works: bool) -> FakeEngine:
    """A llama-server in router mode, as the real one answers."""
    status = {"id": "tiny", "object": "model", "owned_by": "llamacpp", "status": {"value": "loaded"}}
    return FakeEngine(
        {
            "GET /health": Says({"status": "ok"}),
            "GET /props": Says(ROUTER),
            "GET /v1/models": Says({"object": "list", "data": [status]}),
            "GET /slots": Says([{"id": 0, "is_processing": False}, {"id": 1, "is_processing": works}]),
            "POST /models/unload": Says({"success": True}),
        },
        "llama.cpp",
    )


async def test_ollama_unloads_by_a_request_without_a_prompt() -> None:
    fake = ENGINES["ollama"]()
    fake.routes["POST /api/generate"] = Says({"model": "tiny", "done": True, "done_reason": "unload"})
    async with serving(fake) as engine, a_client() as client:
        await EngineBackend(spec_of(engine.url, Api.OLLAMA, "ollama"), client).unload("tiny")
    assert engine.asked[-1].json == {"model": "tiny", "keep_alive": 0, "stream": False}


async def test_a_router_of_llama_servers_unloads_what_does_not_work() -> None:
    async with serving(router(works=False)) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        await backend.probe()
        assert backend.can_unload
        await backend.unload("tiny")
    assert [(each.method, each.path) for each in engine.asked[-2:]] == [("GET", "/slots"), ("POST", "/models/unload")]
    assert engine.asked[-1].json == {"model": "tiny"}


async def test_a_router_is_had_to_load_by_asking_for_the_slots_of_the_model() -> None:
    request = parse_generate(b'{"model":"tiny"}', Hints())
    async with serving(router(works=False)) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        await backend.probe()
        events = [event async for event in backend.answer(request, "tiny")]
    assert (engine.asked[-1].method, engine.asked[-1].path) == ("GET", "/slots")
    assert isinstance(events[-1], Finished)


async def test_a_router_whose_model_works_is_left_alone() -> None:
    async with serving(router(works=True)) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, "llamacpp"), client)
        await backend.probe()
        with pytest.raises(ProxyError) as caught:
            await backend.unload("tiny")
    assert caught.value.code == IN_USE
    assert engine.asked[-1].path == "/slots"


@pytest.mark.parametrize("flavor", ["llamacpp", "vllm", "lmstudio", "tgi"])
async def test_an_engine_that_unloads_nothing_is_not_asked(flavor: str) -> None:
    async with serving(ENGINES[flavor]()) as engine, a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, flavor), client)
        await backend.probe()
        asked = len(engine.asked)
        assert not backend.can_unload
        with pytest.raises(ProxyError) as caught:
            await backend.unload("tiny")
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert len(engine.asked) == asked
