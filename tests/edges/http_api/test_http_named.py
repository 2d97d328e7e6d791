"""Which model answers where a client names none, and the paths without /v1."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Model
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend

WRITER = Model("writer", capabilities=frozenset({"completion"}))
EMBEDDER = Model("embedder", capabilities=frozenset({"embedding"}))
MESSAGES = {"messages": [{"role": "user", "content": "hello"}]}
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": MESSAGES,
    "/chat/completions": MESSAGES,
    "/v1/completions": {"prompt": "hello"},
    "/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/responses": {"input": "hello"},
    "/v1/messages": {**MESSAGES, "max_tokens": 8},
}


async def told(site: Site, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    answer = await site.post(path, body)
    return answer.status, answer.json


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("nothing", [{}, {"model": None}, {"model": ""}])
async def test_without_a_model_the_only_one_that_can_answer_does(
    serve: Serve, path: str, nothing: dict[str, Any]
) -> None:
    npu = FakeBackend("npu", models=[WRITER, EMBEDDER])
    status, answer = await told(
        await serve(npu, FakeBackend("igpu", models=[WRITER])), path, {**nothing, **CALLS[path]}
    )
    assert (status, answer["model"]) == (200, "writer")


async def test_the_engine_reads_the_name_of_the_only_model(serve: Serve) -> None:
    npu = FakeBackend("npu", models=[WRITER])
    await (await serve(npu)).post("/v1/chat/completions", MESSAGES)
    request, _ = npu.requests[0]
    assert json.loads(request.body) == {**MESSAGES, "model": "writer"}


@pytest.mark.parametrize("path", CALLS)
async def test_of_several_models_one_must_be_named(serve: Serve, path: str) -> None:
    site = await serve(FakeBackend("npu", models=[WRITER, Model("other")]))
    status, answer = await told(site, path, CALLS[path])
    assert (status, answer["error"]["message"]) == (400, "model is required; available: other, writer")
    assert answer["error"].get("param", "model") == "model"


async def test_without_any_model_it_is_required(serve: Serve) -> None:
    status, answer = await told(await serve(FakeBackend("npu", models=[])), "/v1/completions", {"prompt": "hello"})
    assert (status, answer["error"]["message"]) == (400, "model is required")


async def test_another_fault_of_a_body_without_a_model_is_told_first(serve: Serve) -> None:
    status, answer = await told(await serve(FakeBackend("npu")), "/v1/messages", MESSAGES)
    assert (status, answer["error"]["message"]) == (400, "max_tokens is required")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
@pytest.mark.parametrize("text", ["hello", [1, 2], {"prompt_string": "hello"}, ["hello", {"prompt_string": "hello"}]])
async def test_whatever_an_engine_embeds_reaches_it(serve: Serve, path: str, text: Any) -> None:
    npu = FakeBackend("npu")
    await (await serve(npu)).post(path, {"input": text})
    assert json.loads(npu.requests[0][0].body) == {"input": text, "model": "tiny:latest"}
