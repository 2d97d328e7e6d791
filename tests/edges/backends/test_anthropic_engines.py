"""Engines that speak Anthropic's API themselves: what passes as bytes, and what is translated instead."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.core.requests import Api
from tests.edges.backends.test_exchange import (
    CHAT,
    SSE,
    answer,
    anthropic_request,
    at_once,
    backend_at,
    frames,
    one_byte_each,
    text,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, Says, serving, streams
from tests.upstreams.frames import OPENAI_STREAM

TOOL = {"name": "f", "input_schema": {"type": "object"}}
MESSAGES, COUNT = "POST /v1/messages", "POST /v1/messages/count_tokens"


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "tiny",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 26, "output_tokens": 0},
    },
)
WORD = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
BLOCKS = (
    START,
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
    WORD,
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage={"output_tokens": 9}),
    event("message_stop"),
)
STREAM = b"".join(BLOCKS)


async def native(body: bytes, **fields: Any) -> list[Any]:
    routes = {MESSAGES: streams(*one_byte_each(body), content_type=SSE)}
    return await answer(Api.OPENAI, routes, anthropic_request(stream=True, **fields), "llamacpp")


@pytest.mark.parametrize("pieces", [at_once, one_byte_each])
async def test_a_stream_passes_untouched_and_its_tokens_are_known(pieces: Any) -> None:
    routes = {MESSAGES: streams(*pieces(STREAM), content_type=SSE)}
    events = await answer(Api.OPENAI, routes, anthropic_request(stream=True), "llamacpp")
    assert frames(events) == STREAM
    assert events[-1] == Finished(FinishReason.LENGTH, Usage(26, 9))


async def test_what_follows_the_end_is_dropped_and_an_end_that_lacks_only_its_mark_gets_it() -> None:
    assert frames(await native(STREAM + b"data: [DONE]\n\n" + WORD)) == STREAM
    assert frames(await native(STREAM.removesuffix(BLOCKS[-1]))) == STREAM


async def test_a_frame_without_its_name_gets_it_and_one_that_is_none_is_left_out() -> None:
    nameless = WORD.split(b"\n", 1)[1]
    events = await native(STREAM.replace(WORD, nameless + b"data: [1]\n\ndata: oops\n\n"))
    assert frames(events) == STREAM
    assert events[-1].skipped_frames == 2


@pytest.mark.parametrize(
    "broken",
    [STREAM.removesuffix(b"".join(BLOCKS[-2:])), b"".join(BLOCKS[:4]) + event("error", error={"message": "x"})],
)
async def test_an_answer_that_breaks_off_is_an_error_after_what_came(broken: bytes) -> None:
    routes = {MESSAGES: streams(broken, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, "llamacpp") as backend:
        before, _error = await until_it_fails(backend, anthropic_request(stream=True))
    assert b"".join(BLOCKS[:4]) in frames(before)


@pytest.mark.parametrize("flavor", ["llamacpp", "vllm", "lmstudio", "generic"])
async def test_an_engine_without_the_route_is_asked_in_its_own_words(flavor: str) -> None:
    routes = {CHAT: streams(OPENAI_STREAM, content_type=SSE)}
    events = await answer(Api.OPENAI, routes, anthropic_request(stream=True), flavor)
    assert (text(events), frames(events)) == ("Grüß Gott", b"")


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "low"}},
        {"x": 1},
        {"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]},
    ],
)
async def test_what_the_engine_would_not_do_is_translated_which_says_or_does_it(fields: dict[str, Any]) -> None:
    routes = {CHAT: streams(OPENAI_STREAM, content_type=SSE), MESSAGES: streams(STREAM, content_type=SSE)}
    events = await answer(Api.OPENAI, routes, anthropic_request(stream=True, **fields), "llamacpp")
    assert text(events) == "Grüß Gott"


async def test_a_tool_that_the_engine_runs_itself_passes() -> None:
    tools = [TOOL, {"type": "web_search_20250305", "name": "web_search"}]
    routes = {MESSAGES: streams(STREAM, content_type=SSE)}
    assert frames(await answer(Api.OLLAMA, routes, anthropic_request(stream=True, tools=tools), "ollama")) == STREAM


@pytest.mark.parametrize("stream", [True, False])
async def test_a_message_that_a_stop_sequence_ended_says_so(stream: bool) -> None:
    told = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": "x"}, usage={"output_tokens": 9})
    body = b"".join((*BLOCKS[:5], told, BLOCKS[-1]))
    routes = {MESSAGES: streams(body, content_type=SSE)}
    request = anthropic_request(stream=stream, stop_sequences=["x"])
    events = await answer(Api.OPENAI, routes, request, "llamacpp")
    assert b'"stop_reason":"stop_sequence"' in frames(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].stop_sequence == "x"


async def test_a_whole_answer_passes_under_the_clients_name_of_the_model() -> None:
    said = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    told = {**said, "model": "own", "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 1}}
    routes = {MESSAGES: Says(told)}
    events = await answer(Api.OPENAI, routes, anthropic_request("mine"), "llamacpp")
    assert json.loads(frames(events)) == {**told, "model": "mine"}
    assert events[-1] == Finished(usage=Usage(3, 1))


async def test_an_engine_counts_the_tokens_of_a_request_where_it_can() -> None:
    for flavor, counted in (("llamacpp", 26), ("ollama", None), ("generic", None)):
        routes = {COUNT: Says({"input_tokens": 26})}
        async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, flavor) as backend:
            assert await backend.count_tokens(anthropic_request(), "tiny") == counted
    async with serving(FakeEngine({})) as engine, backend_at(engine.url, Api.OPENAI, "llamacpp") as backend:
        assert await backend.count_tokens(anthropic_request(), "tiny") is None
