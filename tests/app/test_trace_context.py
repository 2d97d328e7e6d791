"""A client's place in a trace reaches the backend that answers, whichever way, and no service of the internet."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Api, Hints
from ollama_proxyd.core.trace_context import Trace
from ollama_proxyd.core.values import replace
from ollama_proxyd.edges.backends.server import Posted, Server
from tests.app.conftest import Start
from tests.app.test_reload import CALM, END, FRAME
from tests.upstreams.engines import openai_list
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving, streams

GIVEN = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "congo=t61rcWkgMzE"}
MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "m", "messages": MESSAGES, "stream": True}
PRICED = {"price_per_million_input_tokens": 1.0}


def routes(**more: Any) -> dict[str, Any]:
    chat = streams(FRAME, END, content_type="text/event-stream")
    return {"GET /v1/models": Says(openai_list("m")), "POST /v1/chat/completions": chat, **more}


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with serving(FakeEngine(routes(**{"POST /v1/rerank": Says({"results": []})}))) as engine:
        yield engine


def traces(engine: FakeEngine) -> list[dict[str, str]]:
    """What it was told of the trace of each request; health checks are told nothing."""
    found = [({k.lower(): v for k, v in each.headers.items()}, each.method) for each in engine.asked]
    told = [({name: headers[name] for name in GIVEN if name in headers}, method) for headers, method in found]
    assert not any(trace for trace, method in told if method == "GET")
    return [trace for trace, method in told if method == "POST"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/api/chat", CHAT),  # translated
        ("/v1/messages", {**CHAT, "max_tokens": 9}),
        ("/v1/rerank", {"model": "m", "query": "q", "documents": ["d"]}),  # passed on as it is
    ],
)
@pytest.mark.parametrize("by_aiohttp", [False, True])
async def test_the_backend_is_told_on_every_way(
    start: Start, engine: FakeEngine, path: str, body: dict[str, Any], by_aiohttp: bool
) -> None:
    backend: dict[str, Any] = {"id": "box", "type": "openai", "endpoint": engine.url}
    if by_aiohttp:  # the engine as the proxy in front of a machine nearby
        backend |= {"endpoint": "http://box.internal", "proxy": engine.url}
    running = await start({**CALM, "backends": [backend]}, Demo.NEVER)
    async with running.client.post(f"{running.daemon.url}{path}", json=body, headers=GIVEN) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
    assert traces(engine) == [GIVEN]


async def test_the_next_backend_is_told_too(start: Start, engine: FakeEngine) -> None:
    async with serving(FakeEngine(routes(**{"POST /v1/chat/completions": Says({}, 500)}))) as bad:
        backends = [
            {"id": name, "type": "openai", "endpoint": each.url, "characteristics": {"power_watts": power_w}}
            for name, each, power_w in (("bad", bad, 1.0), ("good", engine, 100.0))
        ]
        running = await start({**CALM, "backends": backends}, Demo.NEVER)
        async with running.client.post(f"{running.daemon.url}/v1/chat/completions", json=CHAT, headers=GIVEN) as reply:
            assert reply.headers["X-Backend-Used"] == "good"
            await reply.read()
        assert traces(bad) == traces(engine) == [GIVEN]


async def test_without_a_place_in_a_trace_nothing_is_told(start: Start, engine: FakeEngine) -> None:
    running = await start({**CALM, "backends": [{"id": "box", "type": "openai", "endpoint": engine.url}]}, Demo.NEVER)
    for headers in ({}, {"tracestate": "a=1"}, {"traceparent": "no", "tracestate": "a=1"}):
        async with running.client.post(
            f"{running.daemon.url}/v1/chat/completions", json=CHAT, headers=headers
        ) as reply:
            await reply.read()
    assert traces(engine) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("more", "is_told"),
    [
        ({"endpoint": "http://models.example.com"}, False),
        ({"endpoint": "http://models.example.com", "trace_context": True}, True),
        ({"endpoint": "http://8.8.8.8"}, False),
        ({"endpoint": "http://192.168.7.7:8000"}, True),
        ({"endpoint": "http://vllm.llm.svc:8000"}, True),
        ({"endpoint": "http://vllm:8000", "trace_context": False}, False),
        ({"endpoint": "http://vllm:8000", **PRICED}, False),
    ],
)
async def test_services_of_the_internet_are_told_only_where_they_are_configured_so(
    start: Start, engine: FakeEngine, more: dict[str, Any], is_told: bool
) -> None:
    backend = {"id": "box", "type": "openai", "proxy": engine.url, **more}
    running = await start({**CALM, "backends": [backend]}, Demo.NEVER)
    async with running.client.post(f"{running.daemon.url}/v1/chat/completions", json=CHAT, headers=GIVEN) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
    assert traces(engine) == [GIVEN if is_told else {}]


async def test_a_paired_machine_is_told_wherever_it_is(engine: FakeEngine) -> None:
    spec = BackendSpec("desktop/gpu", "gpu", Api.OLLAMA, "http://8.8.8.8", proxy=engine.url, is_local=False)
    async with a_client() as client:
        for machine in ("desktop", None):
            server = Server(client, replace(spec, machine=machine))
            hints = Hints(trace=Trace(GIVEN["traceparent"], GIVEN["tracestate"]))
            (await server.post("/v1/rerank", Posted(b"{}", "*/*"), hints)).end()
    assert traces(engine) == [GIVEN, {}]


async def test_each_of_twenty_at_once_keeps_its_own_across_a_reload(start: Start, engine: FakeEngine) -> None:
    config = {
        **CALM,
        "backends": [{"id": "box", "type": "openai", "endpoint": engine.url, "slots": 20}],
    }
    running = await start(config, Demo.NEVER)
    ids = [f"00-{at:032x}-{at:016x}-01" for at in range(1, 21)]

    async def one(traceparent: str) -> None:
        async with running.client.post(
            f"{running.daemon.url}/v1/chat/completions", json=CHAT, headers={"traceparent": traceparent}
        ) as reply:
            await reply.read()

    await asyncio.gather(*map(one, ids), running.daemon.reload())
    assert sorted(each["traceparent"] for each in traces(engine)) == ids
