"""What the real vLLM 0.32.0 and mlx_lm.server 0.32.2 streamed, as their clients get it: their own words, and others."""

import json
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Usage
from ollama_proxyd.core.kept_responses import KeptResponses
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.openai.parse import parse_completion
from ollama_proxyd.dialects.openai.responses.dialect import Responses
from tests.edges.backends.test_exchange import (
    CHAT,
    SSE,
    answer,
    anthropic_request,
    backend_at,
    frames,
    ollama_request,
    one_byte_each,
    openai_request,
    text,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, serving, streams

RECORDED = Path(__file__).parents[2] / "upstreams/recorded"
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
MLX_CHAT, VLLM_CHAT = Usage(21, 3, cached_tokens=0), Usage(21, 3)


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.sse").read_bytes()


async def played(name: str, request: Request, route: str = CHAT, *, in_bytes: bool = False) -> list[Event]:
    """The events of a recording that an engine of its kind repeats."""
    chunks = one_byte_each(recorded(name)) if in_bytes else (recorded(name),)
    routes = {route: streams(*chunks, content_type=SSE)}
    return await answer(Api.OPENAI, routes, request, name.partition("-")[0])


def last(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize(("name", "usage"), [("mlx-chat", MLX_CHAT), ("vllm-chat", VLLM_CHAT)])
async def test_a_client_of_its_own_dialect_gets_its_bytes_and_its_usage_counts(
    name: str, usage: Usage, in_bytes: bool
) -> None:
    events = await played(name, openai_request(**USAGE), in_bytes=in_bytes)
    assert frames(events) == recorded(name)
    assert (last(events).usage, last(events).skipped_frames) == (usage, 0)


@pytest.mark.parametrize(
    ("name", "usage", "request_"),
    [
        ("mlx-chat", MLX_CHAT, ollama_request(stream=True)),
        ("mlx-chat", MLX_CHAT, anthropic_request(stream=True)),
        ("vllm-chat", VLLM_CHAT, ollama_request(stream=True)),
    ],
)
async def test_a_client_of_another_dialect_gets_its_words_its_usage_and_its_end(
    name: str, usage: Usage, request_: Request
) -> None:
    events = await played(name, request_)
    assert text(events) == "Hello! I"
    assert (last(events).reason, last(events).usage) == (FinishReason.LENGTH, usage)


async def test_mlx_calls_tools_in_one_piece_and_tells_thinking_apart() -> None:
    events = await played("mlx-tool", ollama_request(stream=True))
    (call,) = [each for event in events if isinstance(event, Delta) for each in event.tool_calls]
    assert (call.name, json.loads(call.arguments or "")) == ("get_weather", {"city": "Paris"})
    assert last(events).reason is FinishReason.TOOL_CALLS
    events = await played("mlx-thinking", ollama_request(stream=True))
    thinking = "".join(event.thinking for event in events if isinstance(event, Delta))
    assert (thinking, text(events)) == ("Let me think", "Hello!")


@pytest.mark.parametrize("name", ["mlx-completion", "vllm-completion"])
async def test_a_completion_passes_with_its_usage(name: str) -> None:
    request = parse_completion(
        json.dumps({"model": "tiny", "prompt": "hi\n", "stream": True, **USAGE}).encode(), Hints()
    )
    events = await played(name, request, "POST /v1/completions")
    assert frames(events) == recorded(name)
    assert last(events).usage.completion_tokens == 3


async def test_vllms_own_messages_and_responses_pass_byte_for_byte() -> None:
    events = await played("vllm-messages", anthropic_request(stream=True), "POST /v1/messages")
    assert frames(events) == recorded("vllm-messages")
    assert last(events).usage.completion_tokens == 3
    call = Responses(KeptResponses()).parse(b'{"model":"tiny","input":"hi","stream":true,"store":false}', Hints())
    events = await played("vllm-responses", call, "POST /v1/responses")
    assert frames(events) == recorded("vllm-responses")
    assert last(events).usage == Usage(21, 3, cached_tokens=0)


async def test_the_end_of_vllms_engine_within_a_stream_is_a_failure_after_what_was_said() -> None:
    routes = {CHAT: streams(recorded("vllm-dead"), content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, "vllm") as backend:
        got, failure = await until_it_fails(backend, openai_request(**USAGE))
    assert b'"Hello"' in frames(got)
    assert "EngineCore encountered an issue" in failure.message
