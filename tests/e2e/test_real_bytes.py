"""Where client and engine speak one dialect, what the engine says reaches the client byte for byte."""

import re
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Fleet, Server, StartDaemon, backend, config_of
from tests.e2e.recorded_engine import MODEL, RecordedEngine, pieces_of, serving
from tests.e2e.tiny_model import HELLO, SCHEMA, WEATHER_TOOL
from tests.e2e.transcript import content_type

pytestmark = pytest.mark.real

DETERMINISTIC = {"model": "tiny", "temperature": 0, "seed": 1, "cache_prompt": False}
"""cache_prompt is a field of llama-server alone: that it has its effect shows that unknown fields get through."""

SAME_BYTES: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream": ("chat/completions", {"messages": HELLO, "stream": True}),
    "a stream with usage": (
        "chat/completions",
        {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "a whole answer": ("chat/completions", {"messages": HELLO}),
    "a stream of a tool call": ("chat/completions", {"messages": HELLO, "tools": [WEATHER_TOOL], "stream": True}),
    "a stream of JSON": (
        "chat/completions",
        {
            "messages": HELLO,
            "stream": True,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        },
    ),
    "a stream with log probabilities": (
        "chat/completions",
        {"messages": HELLO, "stream": True, "logprobs": True, "top_logprobs": 2, "max_tokens": 5},
    ),
    "a stream with an engine's own fields": (
        "chat/completions",
        {"messages": HELLO, "stream": True, "return_progress": True, "timings_per_token": True, "max_tokens": 5},
    ),
    "a streamed completion": ("completions", {"prompt": "hello\n", "stream": True, "max_tokens": 9}),
    "a whole completion": ("completions", {"prompt": "hello\n", "max_tokens": 9}),
    "a completion of several prompts": ("completions", {"prompt": ["hello\n", "hi\n"], "max_tokens": 3}),
    "an embedding": ("embeddings", {"model": "tinyembed", "input": ["a", "b c"]}),
    "a packed embedding": ("embeddings", {"model": "tinyembed", "input": "a", "encoding_format": "base64"}),
}

PER_REQUEST = re.compile(
    rb'"created":\d+|"id":"[^"]*"|"timings":\{[^}]*\}|"time_ms":[\d.]+|"(prompt|predicted)_(per_\w+|ms)":[\d.]+'
)


def lasting(body: bytes) -> bytes:
    """The bytes but for what is another in each answer: identities, the time, how long it took."""
    return PER_REQUEST.sub(b"*", body)


@pytest.mark.parametrize("case", SAME_BYTES)
def test_an_engines_own_bytes_reach_the_client(daemon: Daemon, fleet: Fleet, case: str) -> None:
    path, fields = SAME_BYTES[case]
    body = {**DETERMINISTIC, **fields}
    engine: Server = fleet.tinyembed if body["model"] == "tinyembed" else fleet.tiny
    direct = engine.post(f"/v1/{path}", body)
    through = daemon.post(f"/v1/{path}", body)
    assert (direct.status, through.status) == (200, 200), (direct.body, through.body)
    assert lasting(through.body) == lasting(direct.body)
    assert content_type(through) == content_type(direct)


SSE = b"".join(
    [
        b": a comment first\n\n",
        b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"recorded","unknown":{"b":1,"a":[ ]},',
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"na\xc3\xafve \xf0\x9f\x99\x82 \\u003c"}}],"model":"other"}',
        b"\r\n\r\n",
        b"event: custom\nid: 7\nretry: 10\ndata: {}\n\n",
        b'data:{"choices":[{"index":0,"delta":{"content":"' + b"long " * 200_000 + b'"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"x":0.10}}\n\n',
        b"data: [DONE]\n\n",
    ]
)
NDJSON = b"".join(
    [
        b'{"model":"recorded","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"na\xc3\xafve"},',
        b'"done":false,"unknown":{"b":1,"a":[ ]}}\n',
        b'{"message":{"role":"assistant","content":"' + b"long " * 200_000 + b'","thinking":""},"done":false}\n',
        b'{"message":{"role":"assistant","content":" \\u003c \xf0\x9f\x99\x82"},"done":false}\r\n',
        b'{"model":"recorded","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",',
        b'"eval_count":3,"prompt_eval_count":2,"total_duration":10}\n',
    ]
)
RECORDED = {"openai": ("/v1/chat/completions", SSE), "ollama": ("/api/chat", NDJSON)}


@pytest.mark.parametrize("sizes", [(1 << 20,), (1, 2, 3, 70_000), (65_536,)], ids=["whole", "tiny and large", "64 KiB"])
@pytest.mark.parametrize("kind", RECORDED)
def test_a_recorded_stream_comes_out_as_it_went_in(
    start_daemon: StartDaemon, kind: str, sizes: tuple[int, ...]
) -> None:
    path, stream = RECORDED[kind]
    with serving(RecordedEngine(pieces_of(stream, *sizes))) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url, kind=kind))).ready(MODEL)
        reply = daemon.post(path, {"model": MODEL, "messages": HELLO, "stream": True})
    assert reply.status == 200
    assert reply.body[:300] == stream[:300]
    assert reply.body[-300:] == stream[-300:]
    is_the_same = reply.body == stream  # without a picture of the difference between megabytes
    assert is_the_same


@pytest.mark.parametrize("kind", RECORDED)
def test_a_line_of_fifteen_mebibytes_gets_through(start_daemon: StartDaemon, kind: str) -> None:
    path, stream = RECORDED[kind]
    lines = stream.splitlines(keepends=True)
    long = max(lines, key=len)
    lines[lines.index(long)] = long.replace(b"long ", b"l" * 75)
    with serving(RecordedEngine([b"".join(lines)])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url, kind=kind))).ready(MODEL)
        reply = daemon.post(path, {"model": MODEL, "messages": HELLO, "stream": True})
    assert len(max(reply.body.splitlines(), key=len)) > 14 << 20
    is_the_same = reply.body == b"".join(lines)
    assert is_the_same


CLIENT_BYTES = (
    b'{%b"stream":true,"zzz":{"b":0,"a":null,"c": false},"messages":[{"content":"na\xc3\xafve \\u00e9","role":"user"}],'
    b'"temperature":0.70,"big":12345678901234567890,"model":"%b"}'
)


@pytest.mark.parametrize("kind", RECORDED)
def test_a_clients_own_bytes_reach_the_engine(start_daemon: StartDaemon, kind: str) -> None:
    path, stream = RECORDED[kind]
    with serving(RecordedEngine([stream])) as engine:
        recorded = backend("recorded", engine.url, kind=kind)
        daemon = start_daemon(config_of(recorded, routing={"keep_alive": "engine"})).ready(MODEL)
        body = CLIENT_BYTES % (b" \n", b"recorded")
        assert daemon.post(path, body).status == 200
        assert engine.received == [body]


def test_the_time_to_keep_the_model_is_all_that_an_ollama_is_told_besides(start_daemon: StartDaemon) -> None:
    path, stream = RECORDED["ollama"]
    with serving(RecordedEngine([stream])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url, kind="ollama"))).ready(MODEL)
        body = CLIENT_BYTES % (b" \n", b"recorded")
        assert daemon.post(path, body).status == 200
        (received,) = engine.received
    assert re.fullmatch(re.escape(body[:-1]) + rb',"keep_alive":\d+}', received)


def test_another_name_for_the_model_is_all_that_changes_on_the_way(start_daemon: StartDaemon) -> None:
    path, stream = RECORDED["openai"]
    with serving(RecordedEngine([stream])) as engine:
        daemon = start_daemon(config_of(backend("recorded", engine.url))).ready(MODEL)
        assert daemon.post(path, CLIENT_BYTES % (b"", b"Recorded:latest")).status == 200
        assert engine.received == [CLIENT_BYTES % (b"", b"recorded")]
