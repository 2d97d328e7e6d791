"""Porpulsion's routes about the server and its models: its shapes, with true values."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse

from ollama_proxyd.core.events import Accepted, Delta, Finished, FinishReason, Usage
from ollama_proxyd.core.management import Managed
from ollama_proxyd.core.topology import Cache, Topology
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Serve, Site
from tests.edges.http_api.test_http_management import LINES, NDJSON, ollama, other
from tests.fakes import FakeBackend

LAPTOP = Topology(
    "Ultra 7", 22, 16, 6, 10, 1, 1, ("AVX", "AVX2", "F16C"), (Cache(3, "unified", 24 * 2**20, 1),), 34_000_000_000
)
EVENTS = {"Accept": "text/event-stream"}
KEYS = {
    "total_requests", "active_requests", "tokens_generated", "tokens_per_second", "avg_ttft_ms", "avg_tpot_ms",
    "uptime_seconds", "window_requests",
}  # fmt: skip


@asynccontextmanager
async def events(site: Site, **headers: str) -> AsyncIterator[ClientResponse]:
    async with site.client.get("/api/metrics", headers={**EVENTS, **headers}) as reply:
        yield reply


async def next_event(reply: ClientResponse) -> dict[str, Any]:
    """The fields of the next event that has data."""
    fields: dict[str, Any] = {}
    while "data" not in fields:
        async with asyncio.timeout(60):
            while line := (await reply.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
    return {**fields, "data": json.loads(fields["data"])}


async def test_info_tells_the_server_the_models_and_the_processor(serve: Serve) -> None:
    site = await serve(ollama("npu", "tiny:latest"), ollama("igpu", "large"), topology=LAPTOP)
    told = (await site.get("/api/info")).json
    assert (told["models"], told["ram_gb"]) == (["large", "tiny:latest"], 34.0)
    assert told["ollama_url"] == site.services.fleet.view("npu").spec.endpoint
    cpu = told["cpu"]
    assert (cpu["physical_cores"], cpu["p_cores"], cpu["e_cores"], cpu["l3_cache_mb"]) == (16, 6, 10, 24)
    assert (cpu["features"], cpu["has_f16c"], cpu["has_neon"]) == ("AVX AVX2 F16C", True, False)


async def test_what_is_not_known_of_the_processor_is_null(serve: Serve) -> None:
    told = (await (await serve(FakeBackend("npu"))).get("/api/info")).json
    assert (told["ram_gb"], told["cpu"]["p_cores"], told["cpu"]["l3_cache_mb"]) == (None, None, None)


async def test_metrics_count_requests_and_tokens_as_the_engine_does(serve: Serve) -> None:
    script = (Accepted(), Delta("a"), Delta("b"), Finished(FinishReason.STOP, Usage(3, 40)))
    site = await serve(FakeBackend("npu", *script))
    before = (await site.get("/api/metrics")).json
    assert (set(before), before["total_requests"], before["avg_ttft_ms"]) == (KEYS, 0, None)
    for _ in range(20):
        assert (await site.chat()).status == 200
    assert (await site.chat(model="unknown")).status == 404
    told = (await site.get("/api/metrics")).json
    assert (told["total_requests"], told["tokens_generated"], told["window_requests"]) == (21, 800, 20)
    assert told["active_requests"] == 0


async def test_metrics_come_each_second_with_a_number_that_goes_on_where_the_client_was(serve: Serve) -> None:
    site = await serve()
    async with events(site) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        first, second = await next_event(reply), await next_event(reply)
    assert (first["retry"], first["id"], second["id"]) == ("3000", "1", "2")
    assert set(first["data"]) == KEYS
    async with events(site, **{"Last-Event-ID": "7"}) as reply:
        assert (await next_event(reply))["id"] == "8"
    for odd in ("x", "-1", "9" * 400, "٣"):
        async with events(site, **{"Last-Event-ID": odd}) as reply:
            assert (await next_event(reply))["id"] == "1"


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [("text/event-stream", True), ("Text/Event-Stream;q=0.9, */*", True), ("*/*", False), ("application/json", False)],
)
async def test_events_come_where_they_are_asked_for(serve: Serve, accept: str, is_stream: bool) -> None:
    site = await serve()
    async with site.client.get("/api/metrics", headers={"Accept": accept}) as reply:
        assert (reply.content_type == "text/event-stream") is is_stream


async def test_the_stream_of_metrics_ends_with_the_server_and_has_few_seats(serve: Serve) -> None:
    site = await serve()
    async with events(site) as reply:
        await next_event(reply)
        await site.server.refuse_new()
        async with asyncio.timeout(60):
            await reply.content.read()


async def test_models_are_a_bare_list_of_ollamas_objects(serve: Serve) -> None:
    site = await serve(ollama("npu", "tiny:latest"))
    listed, tags = (await site.get("/api/models")).json, (await site.get("/api/tags")).json
    assert listed == tags["models"]
    assert {"name", "modified_at", "size", "digest", "details"} <= set(listed[0])


async def test_pulling_tells_events_where_they_are_asked_for_and_lines_otherwise(serve: Serve) -> None:
    one = ollama("igpu", answers=(NDJSON, LINES[0][:9], LINES[0][9:] + LINES[1][:-1]))
    site = await serve(one)
    asked = await site.post("/api/pull", {"name": "llama3.2"}, headers=EVENTS)
    assert asked.headers["Content-Type"] == "text/event-stream"
    assert asked.body == b'data: {"status":"pulling manifest"}\n\ndata: {"status":"success"}\n\n'
    assert (await site.post("/api/pull", {"name": "llama3.2"})).headers["Content-Type"] == "application/x-ndjson"


async def test_errors_of_a_pull_stay_errors_as_events(serve: Serve) -> None:
    said = b'{"error":"pull model manifest: file does not exist"}\n'
    site = await serve(ollama("igpu", answers=(NDJSON, LINES[0], said)))
    answer = await site.post("/api/pull", {"name": "x"}, headers=EVENTS)
    assert answer.body.endswith(b'data: {"error":"pull model manifest: file does not exist"}\n\n')
    refused = ollama("igpu", answers=(Managed(400, "application/json"), b'{"error":"invalid model name"}'))
    answer = await (await serve(refused)).post("/api/pull", {"name": "x"}, headers=EVENTS)
    assert (answer.status, answer.json) == (400, {"error": "invalid model name"})
    assert (await site.post("/api/pull", {"name": 7}, headers=EVENTS)).status == 400


async def test_deleting_goes_to_all_that_hold_the_model(serve: Serve) -> None:
    fleet = ollama("npu", "hub/tiny:1b"), ollama("igpu", "hub/tiny:1b"), other("nvidia")
    site = await serve(*fleet)
    answer = await site.ask("DELETE", "/api/models/hub%2Ftiny:1b")
    assert (answer.status, answer.body) == (204, b"")
    assert [each.managed[0].body for each in fleet[:2]] == [b'{"model":"hub/tiny:1b"}'] * 2


async def test_a_model_that_cannot_be_deleted_is_an_error(serve: Serve) -> None:
    gone = (Managed(404, "application/json"), b'{"error":"model \'x\' not found"}')
    answer = await (await serve(ollama("npu", answers=gone))).ask("DELETE", "/api/models/x")
    assert (answer.status, answer.json) == (404, {"error": "model 'x' not found"})
    answer = await (await serve(other("npu"))).ask("DELETE", "/api/models/x")
    assert answer.status == 400
    site = await serve(ollama("npu", "x"), listen=ServerSettings(port=0, allowed_origins=("https://a.example",)))
    answer = await site.ask("DELETE", "/api/models/x", headers={"Origin": "https://a.example"})
    assert answer.status == 403
