"""Calls of the Responses API at engines of each kind: what passes as bytes, and what is asked as a chat instead."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.core.kept_responses import KeptResponse, KeptResponses
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.core.spoken import Spoken
from ollama_proxyd.dialects.openai.responses.dialect import Responses
from tests.edges.backends.test_anthropic_engines import event
from tests.edges.backends.test_exchange import (
    API_CHAT,
    CHAT,
    NDJSON,
    SSE,
    answer,
    at_once,
    backend_at,
    events_of,
    frames,
    one_byte_each,
    text,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, Says, serving, streams
from tests.upstreams.frames import OLLAMA_STREAM, OPENAI_STREAM

SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}}
ROUTE = "POST /v1/responses"
WHOLE = "lmstudio", "vllm"
MESSAGE: dict[str, Any] = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
MESSAGE |= {"content": [{"type": "output_text", "text": "Hi", "annotations": []}]}
BEGUN = {"id": "resp_1", "object": "response", "created_at": 1, "model": "tiny", "error": None, "output": []}
USAGE = {"input_tokens": 26, "output_tokens": 9, "total_tokens": 35, "input_tokens_details": {"cached_tokens": 4}}
DONE = {**BEGUN, "status": "completed", "output": [MESSAGE], "usage": USAGE}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def numbered(*events: tuple[str, dict[str, Any]]) -> list[bytes]:
    return [event(f"response.{kind}", sequence_number=at, **told) for at, (kind, told) in enumerate(events)]


BLOCKS = numbered(
    ("created", {"response": {**BEGUN, "status": "in_progress"}}),
    ("output_item.added", {"output_index": 0, "item": {**MESSAGE, "status": "in_progress", "content": []}}),
    ("content_part.added", {**AT, "part": {"type": "output_text", "text": ""}}),
    ("output_text.delta", {**AT, "delta": "Hi"}),
    ("mcp_call.failed", {"item_id": "mcp_1", "output_index": 1}),
    ("output_item.done", {"output_index": 0, "item": MESSAGE}),
    ("completed", {"response": DONE}),
)
STREAM = b"".join(BLOCKS)


def call(kept: KeptResponses | None = None, **fields: Any) -> Request:
    body = {"model": "tiny", "input": "hi", **fields}
    return Responses(kept or KeptResponses()).parse(json.dumps(body).encode(), Hints())


def in_a_form(**fields: Any) -> Request:
    form = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA}}
    return call(instructions="be kind", max_output_tokens=9, text=form, **fields)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("kind", "flavor", "route", "said", "content_type"),
    [
        (Api.OPENAI, "llamacpp", CHAT, OPENAI_STREAM, SSE),
        (Api.OPENAI, "generic", CHAT, OPENAI_STREAM, SSE),
        (Api.OLLAMA, "ollama", API_CHAT, OLLAMA_STREAM, NDJSON),
    ],
)
async def test_an_engine_that_would_not_do_it_all_is_asked_in_its_first_dialect(
    kind: Api, flavor: str, route: str, said: bytes, content_type: str, *, stream: bool
) -> None:
    routes = {route: streams(said, content_type=content_type)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, kind, flavor) as backend:
        events = await events_of(backend, in_a_form(stream=stream))
    assert (text(events), frames(events)) == ("Grüß Gott", b"")
    assert isinstance(events[-1], Finished)
    asked = json.loads(engine.asked[0].body)
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    if kind is Api.OLLAMA:
        assert (asked["format"], asked["options"]["num_predict"]) == (SCHEMA, 9)
    else:
        assert (asked["response_format"]["json_schema"]["schema"], asked["max_tokens"]) == (SCHEMA, 9)


@pytest.mark.parametrize("pieces", [at_once, one_byte_each])
@pytest.mark.parametrize("flavor", WHOLE)
async def test_the_clients_own_bytes_and_the_engines_own_events_pass(flavor: str, pieces: Any) -> None:
    body = b'{"model": "tiny",  "input": "hi", "stream": true, "tools": [{"type": "mcp", "server_label": "x"}], "z": 1}'
    request = Responses(KeptResponses()).parse(body, Hints())
    routes = {ROUTE: streams(*pieces(STREAM), content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, flavor) as backend:
        events = await events_of(backend, request)
    assert engine.asked[0].body == body
    assert frames(events) == STREAM
    assert events[-1] == Finished(FinishReason.STOP, Usage(26, 9, 4))


async def test_a_whole_answer_passes_under_the_clients_name_of_the_model() -> None:
    routes = {ROUTE: Says({**DONE, "model": "own"})}
    events = await answer(Api.OPENAI, routes, call(model="mine"), "vllm")
    assert json.loads(frames(events)) == {**DONE, "model": "mine"}
    assert events[-1] == Finished(usage=Usage(26, 9, 4))


async def test_a_streams_responses_have_the_clients_name_of_the_model() -> None:
    routes = {ROUTE: streams(STREAM, content_type=SSE)}
    events = await answer(Api.OPENAI, routes, call(model="mine", stream=True), "vllm")
    assert frames(events) == STREAM.replace(b'"tiny"', b'"mine"')


async def test_an_answer_that_its_limit_cut_and_one_that_calls_tools_are_told_apart() -> None:
    cut = {**DONE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    called = {**DONE, "output": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}
    for told, reason in ((cut, FinishReason.LENGTH), (called, FinishReason.TOOL_CALLS)):
        last = (await answer(Api.OPENAI, {ROUTE: Says(told)}, call(), "vllm"))[-1]
        assert isinstance(last, Finished)
        assert last.reason is reason


@pytest.mark.parametrize(
    "broken",
    [
        b"".join(BLOCKS[:-1]),
        b"".join(BLOCKS[:4]) + event("response.failed", response={**BEGUN, "error": {"message": "no memory"}}),
        b"".join(BLOCKS[:4]) + event("error", message="no memory"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_after_what_came(broken: bytes) -> None:
    routes = {ROUTE: streams(broken, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, "vllm") as backend:
        before, error = await until_it_fails(backend, call(stream=True))
    assert frames(before).startswith(b"".join(BLOCKS[:4]))
    assert ("no memory" in str(error)) is (b"no memory" in broken)


async def test_a_whole_answer_that_failed_is_an_error() -> None:
    routes = {ROUTE: Says({**BEGUN, "status": "failed", "error": {"message": "no memory"}})}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, "vllm") as backend:
        _, error = await until_it_fails(backend, call())
    assert "no memory" in str(error)


@pytest.mark.parametrize("flavor", WHOLE)
async def test_an_engine_without_the_route_is_asked_in_its_own_words(flavor: str) -> None:
    routes = {CHAT: streams(OPENAI_STREAM, content_type=SSE)}
    events = await answer(Api.OPENAI, routes, call(stream=True), flavor)
    assert (text(events), frames(events)) == ("Grüß Gott", b"")


async def test_what_only_we_keep_is_written_out_for_the_engine() -> None:
    kept = KeptResponses()
    before = {"type": "message", "id": "in_1", "role": "user", "content": "hello"}
    odd = {"type": "mcp_call", "id": "mcp_1", "name": "look", "output": "x"}
    inputs, outputs = {"in_1": json.dumps(before).encode()}, {"mcp_1": json.dumps(odd).encode()}
    kept.keep("resp_0", KeptResponse(b"{}", inputs, outputs))
    request = call(kept, previous_response_id="resp_0")
    routes = {ROUTE: Says(DONE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, "vllm") as backend:
        await events_of(backend, request)
    asked = engine.asked[0].json
    assert "previous_response_id" not in asked
    assert asked["input"][:2] == [before, odd]
    assert asked["input"][2]["role"] == "user"
    reference = call(kept, input=[{"type": "item_reference", "id": "in_1"}])
    assert json.loads(reference.original or b"{}")["input"] == [before]


async def test_ollama_is_asked_where_its_answer_need_not_be_kept_and_it_reads_all() -> None:
    for fields, passes in (
        ({"store": False}, True),
        ({}, False),
        ({"store": False, "tool_choice": "required"}, False),
        ({"store": False, "max_output_tokens": 9}, False),
    ):
        routes = {ROUTE: streams(STREAM, content_type=SSE), API_CHAT: streams(OLLAMA_STREAM, content_type=NDJSON)}
        events = await answer(Api.OLLAMA, routes, call(stream=True, **fields), "ollama")
        assert (frames(events) == STREAM) is passes, fields


async def test_the_rest_of_an_answer_and_a_summary_are_asked_for_in_other_words() -> None:
    request = call(stream=True)
    assert request.resume is not None
    rest = request.resume.request(request, Spoken("Hello"))
    routes = {ROUTE: streams(STREAM, content_type=SSE), CHAT: streams(OPENAI_STREAM, content_type=SSE)}
    assert text(await answer(Api.OPENAI, routes, rest, "vllm")) == "Grüß Gott"
    sealed = [{"type": "compaction", "encrypted_content": "ollama-proxyd:aGk="}, {"role": "user", "content": "x"}]
    assert text(await answer(Api.OPENAI, routes, call(stream=True, input=sealed), "vllm")) == "Grüß Gott"
