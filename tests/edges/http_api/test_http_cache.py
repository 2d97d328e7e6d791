"""X-Cache and Cache-Control over HTTP, in both dialects, streamed or not."""

from typing import Any

import pytest

from ollama_proxyd.core.answer_cache import CacheSettings
from tests.edges.http_api.conftest import CHAT, Serve
from tests.fakes import FakeBackend, frames

ON = CacheSettings(enabled=True)
OPENAI = {**CHAT, "temperature": 0}
OLLAMA = {**CHAT, "options": {"temperature": 0}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", OPENAI),
        ("/v1/chat/completions", {**OPENAI, "stream": True}),
        ("/v1/completions", {"model": "tiny", "prompt": "hello", "seed": 3}),
        ("/api/chat", OLLAMA),
        ("/api/chat", {**OLLAMA, "stream": False}),
        ("/api/generate", {"model": "tiny", "prompt": "hello", "options": {"seed": 3}}),
    ],
)
async def test_the_second_answer_says_the_same_and_costs_nothing(serve: Serve, path: str, body: dict[str, Any]) -> None:
    npu = FakeBackend("npu")
    site = await serve(npu, cache=ON)
    first, again = [await site.post(path, body, headers={"X-Include-Energy": "true"}) for _ in range(2)]
    assert [each.headers["X-Cache"] for each in (first, again)] == ["miss", "hit"]
    assert (again.status, again.headers["X-Backend-Used"], len(npu.requests)) == (200, "none", 1)
    assert b"Hello" in again.body
    assert b'"energy_j":0' in again.body


async def test_an_engines_own_frames_come_again_as_they_were(serve: Serve) -> None:
    pieces = (b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n', b"data: [DONE]\n\n")
    site = await serve(FakeBackend("npu", *frames(*pieces)), cache=ON)
    bodies = [(await site.post("/v1/chat/completions", {**OPENAI, "stream": True})).body for _ in range(2)]
    assert bodies == [b"".join(pieces)] * 2


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("no-store", ["miss", "miss"]),
        ("no-cache", ["miss", "miss"]),
        ("Max-Age=0, No-Cache", ["miss", "miss"]),
        ("max-age=60", ["miss", "hit"]),
        ("nonsense", ["miss", "hit"]),
    ],
)
async def test_cache_control_is_obeyed(serve: Serve, said: str, seen: list[str]) -> None:
    site = await serve(cache=ON)
    answers = [await site.chat({"Cache-Control": said}, temperature=0) for _ in range(2)]
    assert [each.headers["X-Cache"] for each in answers] == seen
    kept = await site.chat(temperature=0)
    assert kept.headers["X-Cache"] == ("miss" if said == "no-store" else "hit")


async def test_without_the_cache_there_is_no_such_header(serve: Serve) -> None:
    site = await serve()
    assert "X-Cache" not in (await site.chat(temperature=0)).headers


async def test_what_was_saved_stands_in_status_and_metrics(serve: Serve) -> None:
    site = await serve(cache=ON)
    for _ in range(3):
        await site.chat(temperature=0)
    today, metrics = (await site.get("/status")).json["today"], (await site.get("/metrics")).body.decode()
    assert today["cached_answers"] == 2
    assert "ollama_proxy_cache_hits_total 2.0" in metrics
    assert f"ollama_proxy_cache_saved_joules_total {today['cache_saved_joules']}" in metrics
    assert "ollama_proxy_cache_answers 1.0" in metrics
