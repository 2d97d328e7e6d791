"""Whatever a client or a backend sends, the OpenAI dialect reads it or refuses it, and never fails otherwise."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Embedding, Hints
from ollama_proxyd.dialects.framing.limits import MOST_CALLS
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama_chat
from ollama_proxyd.dialects.openai.decode import ChunkDecoder, decode_answer
from ollama_proxyd.dialects.openai.ending import peek_answer, peek_usage
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_completion, parse_embedding
from ollama_proxyd.dialects.openai.vectors import decode_embeddings
from tests.any_json import nearly_bytes
from tests.dialects.ollama.test_ollama_any_bytes import told_to_others

OPTIONS = {
    "model": "x",
    "max_tokens": 5,
    "temperature": 0.5,
    "stop": ["a"],
    "logit_bias": {"1": 2},
    "n": 1,
    "top_k": 3,
    "keep_alive": "5m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "top_logprobs": 2,
    "logprobs": True,
}
CALL = {"id": "c1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a":1}'}}
PARTS = [
    {"type": "text", "text": "x"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
]
MESSAGES = [
    {"role": "user", "content": PARTS},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "t"},
    {"role": "tool", "tool_call_id": "c1", "content": "x", "name": "f"},
]
CHAT = {
    **OPTIONS,
    "messages": MESSAGES,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "strict": True}},
    "reasoning_effort": "low",
    "reasoning": {"effort": "low"},
    "chat_template_kwargs": {"enable_thinking": True, "z": 1},
}
CALLS: list[tuple[Any, Any]] = [
    (parse_chat, CHAT),
    (parse_completion, {**OPTIONS, "prompt": "x", "suffix": "x", "logprobs": 2, "best_of": 1, "echo": False}),
    (parse_embedding, {"model": "x", "input": ["x", "y"], "encoding_format": "base64", "dimensions": 2, "user": "u"}),
]
BODIES = st.sampled_from(CALLS).flatmap(lambda call: st.tuples(st.just(call[0]), nearly_bytes(call[1])))
TOKEN = {"token": "x", "logprob": -0.5, "bytes": [1], "top_logprobs": [{"token": "x", "logprob": -1, "bytes": None}]}
LOGPROBS = {"content": [TOKEN], "tokens": ["x"], "token_logprobs": [-0.5], "top_logprobs": [{"x": -1.0}]}
SAID = {"role": "assistant", "content": "x", "reasoning_content": "r", "tool_calls": [CALL]}
CHOICE = {"index": 0, "delta": SAID, "message": SAID, "text": "x", "finish_reason": "stop", "logprobs": LOGPROBS}
FRAME = {
    "choices": [CHOICE],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
    "timings": {"cache_n": 1, "prompt_n": 1, "prompt_ms": 1.0, "predicted_n": 2, "predicted_ms": 3.0},
    "error": None,
}
VECTORS = {
    "data": [{"embedding": [0.1, 0.2], "index": 0}, {"embedding": "AAAAAAAAgD8=", "index": 1}],
    "usage": {"prompt_tokens": 1},
}


@given(BODIES | st.tuples(st.sampled_from(CALLS).map(lambda call: call[0]), st.binary(max_size=40)))
def test_any_body_is_read_and_translated_or_refused(call: tuple[Any, bytes]) -> None:
    parse, body = call
    with suppress(ProxyError):
        told_to_others(parse(body, Hints()))


@pytest.mark.parametrize("depth", [*range(950, 1001, 10), 100_000])
@pytest.mark.parametrize(
    "field", ["tools", "tool_choice", "logit_bias", "reasoning", "chat_template_kwargs", "content"]
)
def test_a_body_of_any_depth_is_translated_or_refused(depth: int, field: str) -> None:
    nest = b"[" * depth + b"]" * depth
    content, nested = b'"x"', b'{"x":' + nest + b"}"
    if field == "content":
        content, nested = b'[{"type":"text","text":"x","x_url":' + nest + b"}]", b"1"
    elif field in {"tools", "logit_bias"}:
        nested = b"[" + nested + b"]"
    body = b'{"model":"x","messages":[{"role":"user","content":' + content + b'}],"' + field.encode() + b'":' + nested
    with suppress(ProxyError):
        told_to_others(parse_chat(body + b"}", Hints()))


@pytest.mark.parametrize(
    "content",
    [
        b'[{"type":"image_url","image_url":{"url":"data:\xff"}}]',
        b'[{"type":"image_url","image_url":"\xff"}]',
        b'[{"type":"text","te\xffxt":"x"}]',
        b'[{"type":"input_audio","input_audio":{"data":"\xff"}}]',
    ],
)
def test_a_part_that_is_not_utf8_is_the_clients_fault(content: bytes) -> None:
    with pytest.raises(ProxyError, match="utf-8"):
        parse_chat(b'{"model":"x","messages":[{"role":"user","content":' + content + b"}]}", Hints())


@given(st.lists(nearly_bytes(FRAME), min_size=1, max_size=3), st.sampled_from([None, 0, 2]), st.booleans())
def test_any_stream_is_read_and_encoded_or_fails_as_an_answer(frames: list[bytes], top: int | None, done: bool) -> None:
    block = b"".join(b"data: " + frame + b"\n\n" for frame in frames) + (b"data: [DONE]\n\n" if done else b"")
    assert peek_usage(block, 3) is not None
    decoder = ChunkDecoder(top)
    events: list[Event] = []
    with suppress(ProxyError):
        events += decoder.feed(block)
        events.append(decoder.finish())
    told_to_an_ollama_client(events)


@given(nearly_bytes(FRAME))
def test_any_whole_answer_is_read_and_encoded_or_fails_as_one(body: bytes) -> None:
    assert peek_answer(body) is not None
    with suppress(ProxyError):
        told_to_an_ollama_client(decode_answer(body, 2))


@given(nearly_bytes(VECTORS))
def test_any_vectors_are_read_or_fail_as_such(body: bytes) -> None:
    wanted = Embedding(inputs=("x", "y"), single=False)
    with suppress(ProxyError):
        decode_embeddings(body, wanted)


def told_to_an_ollama_client(events: list[Event]) -> None:
    request = ollama_chat(b'{"model":"x","messages":[{"role":"user","content":"x"}]}', Hints())
    encoder = LineEncoder(request, lambda: "now", lambda: 5)
    with suppress(ProxyError):
        for event in events:
            encoder.encode(event)
    with suppress(ProxyError):
        LineEncoder(request, lambda: "now", lambda: 5).whole(events)


@pytest.mark.parametrize("depth", [3, 5, 100, 400, 940, 960, 970, 980, 990, 1000])
def test_an_error_wrapped_in_any_number_of_others_is_a_failure(depth: int) -> None:
    error = b'{"error":' * depth + b'"boom"' + b"}" * depth
    decoder = ChunkDecoder()
    with suppress(ProxyError):
        decoder.feed(b"data: " + error + b"\n\n")
    with pytest.raises(ProxyError):
        decoder.finish()
    assert peek_answer(error) is not None


def test_an_answer_of_endless_tool_calls_fails() -> None:
    frame = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}\n\n'
    decoder = ChunkDecoder()
    assert len(decoder.feed(frame * MOST_CALLS)) == MOST_CALLS
    with pytest.raises(ProxyError, match="tool calls"):
        decoder.feed(frame)
