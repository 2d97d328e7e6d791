"""Each answering route reaches a backend, whatever its dialect, and comes back in the client's."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.requests import Operation
from tests.edges.http_api.conftest import CHAT, Serve
from tests.fakes import FakeBackend, vectors, words

PROMPT = {"model": "tiny", "prompt": "hello"}
INPUT = {"model": "tiny", "input": "hello"}


@pytest.mark.parametrize(
    ("path", "body", "operation", "said"),
    [
        ("/v1/chat/completions", CHAT, Operation.CHAT, lambda it: it["choices"][0]["message"]["content"]),
        ("/v1/completions", PROMPT, Operation.COMPLETION, lambda it: it["choices"][0]["text"]),
        ("/api/chat", {**CHAT, "stream": False}, Operation.CHAT, lambda it: it["message"]["content"]),
        ("/api/generate", {**PROMPT, "stream": False}, Operation.COMPLETION, lambda it: it["response"]),
    ],
)
async def test_a_whole_answer_in_words(serve: Serve, path: str, body: Any, operation: Operation, said: Any) -> None:
    backend = FakeBackend("npu", *words("Hello", " world"))
    answer = await (await serve(backend)).post(path, body)
    assert answer.status == 200
    assert said(answer.json) == "Hello world"
    assert backend.requests[0][0].operation is operation


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/v1/embeddings", INPUT, lambda it: it["data"][0]["embedding"]),
        ("/api/embed", INPUT, lambda it: it["embeddings"][0]),
        ("/api/embeddings", PROMPT, lambda it: it["embedding"]),
    ],
)
async def test_a_vector(serve: Serve, path: str, body: Any, found: Any) -> None:
    backend = FakeBackend("npu", *vectors((0.6, 0.8)))
    answer = await (await serve(backend)).post(path, body)
    assert answer.status == 200
    assert found(answer.json) == pytest.approx([0.6, 0.8])
    assert backend.requests[0][0].operation is Operation.EMBEDDING


async def test_every_answer_has_an_id_of_its_own(serve: Serve) -> None:
    site = await serve()
    ids = {(await site.chat()).json["id"] for _ in range(5)}
    assert len(ids) == 5


async def test_an_ollama_answer_tells_the_time_it_took(serve: Serve) -> None:
    site = await serve()
    answer = await site.post("/api/chat", {**CHAT, "stream": False})
    assert answer.json["total_duration"] > 0
    assert answer.json["created_at"].endswith("Z")


async def test_the_content_type_of_the_request_does_not_matter(serve: Serve) -> None:
    site = await serve()
    for content_type in ("text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
        answer = await site.ask(
            "POST", "/v1/chat/completions", data=json.dumps(CHAT), headers={"Content-Type": content_type}
        )
        assert answer.status == 200


async def test_hints_reach_routing(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("nvidia"))
    assert (await site.chat({"X-Latency-Critical": "true"}, max_tokens=200)).headers["X-Backend-Used"] == "nvidia"
    assert (await site.chat({"X-Power-Efficient": "true"}, max_tokens=200)).headers["X-Backend-Used"] == "npu"
    assert (await site.chat({"X-Max-Power-Watts": "20.5"})).headers["X-Backend-Used"] == "npu"


async def test_a_deadline_that_has_passed_is_a_422_that_clients_do_not_repeat(serve: Serve) -> None:
    answer = await (await serve()).chat({"X-Deadline-Ms": "1000"})
    assert answer.status == 422
    assert "Retry-After" not in answer.headers
    assert answer.json["error"]["param"] == "X-Deadline-Ms"
