"""An answer has one end: nothing of it is lost, nothing follows it, and what has none never looks whole."""

import asyncio
import gzip
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Delta, Event, Finished
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.edges.backends.pass_through import PassThrough
from tests.edges.backends.test_exchange import (
    API_CHAT,
    CHAT,
    NDJSON,
    SSE,
    answer,
    anthropic_request,
    backend_at,
    events_of,
    frames,
    ollama_request,
    openai_request,
    text,
    until_it_fails,
)
from tests.upstreams.fake_engines import FakeEngine, RawServer, Says, playing, serving, streams
from tests.upstreams.frames import OLLAMA_FRAMES, OLLAMA_STREAM, OPENAI_FRAMES, OPENAI_STREAM

translated_request = partial(anthropic_request, tool_choice={"type": "auto"})
"""No Ollama reads the choice, so that nothing passes as it came."""

ROUTE, TYPE = {Api.OPENAI: CHAT, Api.OLLAMA: API_CHAT}, {Api.OPENAI: SSE, Api.OLLAMA: NDJSON}
STREAM = {Api.OPENAI: OPENAI_STREAM, Api.OLLAMA: OLLAMA_STREAM}
LAST = {Api.OPENAI: len(b"data: [DONE]\n\n"), Api.OLLAMA: len(OLLAMA_FRAMES[-1])}
CLIENTS: dict[Api, Callable[..., Request]] = {
    Api.OPENAI: openai_request,
    Api.OLLAMA: ollama_request,
    Api.ANTHROPIC: translated_request,
}
PAIRS = pytest.mark.parametrize(("engine", "client"), [(engine, client) for engine in STREAM for client in CLIENTS])
WHOLE = {
    Api.OPENAI: b'{"choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}]}',
    Api.OLLAMA: b'{"message":{"role":"assistant","content":"yes"},"done":true}',
}
TEXTS = {"Grüß Gott", ""}
"""Of a translated answer, and of one that passed as bytes."""


def asked(client: Api, stream: bool) -> Request:
    return CLIENTS[client](stream=stream)


async def got(engine: Api, client: Api, data: bytes, stream: bool = True) -> list[Event]:
    return await answer(engine, {ROUTE[engine]: streams(data, content_type=TYPE[engine])}, asked(client, stream))


@asynccontextmanager
async def breaking(engine: Api, data: bytes) -> Any:
    """A backend whose connection breaks after these bytes, though it promised more."""

    async def breaks(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: application/json\r\n\r\n" + data)
        await writer.drain()

    async with playing(breaks) as raw, backend_at(raw.url, engine) as backend:
        yield backend


@PAIRS
@pytest.mark.parametrize("stream", [True, False])
async def test_what_follows_the_end_is_dropped(engine: Api, client: Api, stream: bool) -> None:
    for block in (STREAM[engine] * 2, STREAM[engine] + b'{"error":"late"}\n\n', STREAM[engine] + b"\xff\n\nrubbish"):
        events = await got(engine, client, block, stream)
        assert isinstance(events[-1], Finished)
        assert text(events) in TEXTS
        assert frames(events) in {STREAM[engine], b""}
    halves = streams(STREAM[engine], STREAM[engine], content_type=TYPE[engine])
    events = await answer(engine, {ROUTE[engine]: halves}, asked(client, stream))
    assert text(events) in TEXTS
    assert frames(events) in {STREAM[engine], b""}


@PAIRS
@pytest.mark.parametrize("stream", [True, False])
async def test_a_complete_answer_whose_connection_breaks_or_stays_open_is_complete(
    engine: Api, client: Api, stream: bool
) -> None:
    async with breaking(engine, STREAM[engine] if stream else WHOLE[engine]) as backend:
        events = await events_of(backend, asked(client, stream))
    assert isinstance(events[-1], Finished)
    hangs = {ROUTE[engine]: streams(STREAM[engine], content_type=TYPE[engine], then_hang=True)}
    events = await answer(engine, hangs, asked(client, stream))
    assert isinstance(events[-1], Finished)


@PAIRS
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ending", [b"", b"5\r\nab"])
async def test_a_complete_answer_before_a_broken_chunk_is_complete_though_both_came_at_once(
    engine: Api, client: Api, stream: bool, ending: bytes
) -> None:
    data = STREAM[engine] if stream else WHOLE[engine]

    async def breaks(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        kind = TYPE[engine] if stream else "application/json"
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: {kind}\r\n\r\n{len(data):x}\r\n"
        writer.write(head.encode() + data + b"\r\n" + ending)
        await writer.drain()

    async with playing(breaks) as raw, backend_at(raw.url, engine) as backend:
        events = await events_of(backend, asked(client, stream))
    assert isinstance(events[-1], Finished)


async def test_a_finish_reason_is_an_end_where_the_connection_breaks_before_the_mark() -> None:
    data = b"".join(OPENAI_FRAMES[:-2])
    for client in CLIENTS:
        async with breaking(Api.OPENAI, data) as backend:
            events = await events_of(backend, asked(client, stream=True))
        assert isinstance(events[-1], Finished)


@PAIRS
async def test_a_stream_that_breaks_off_is_an_error_after_whole_frames(engine: Api, client: Api) -> None:
    complete = STREAM[engine][: -LAST[engine]]
    if engine is Api.OPENAI:
        complete = b"".join(OPENAI_FRAMES[:4])
    for data in (complete, complete.rstrip(b"\n"), complete + b'{"half', complete + b"null", complete + b"[1,2]"):
        async with breaking(engine, data) as backend:
            before, error = await until_it_fails(backend, asked(client, stream=True))
        assert error.kind is ErrorKind.UPSTREAM_FAILED
        assert "broke off its answer" in error.message
        assert text(before) in TEXTS
        assert frames(before) in {complete, b""}


NO_ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[:-5],
    "empty": lambda _: b"",
    "blank": lambda _: b" \r\n\n",
    "not JSON": lambda _: b"this is not json at all",
    "null": lambda _: b"null",
    "array": lambda _: b"[1,2]",
    "text": lambda _: b'"hello"',
    "number": lambda _: b"1",
    "empty object": lambda _: b"{}",
    "no message": lambda _: b'{"choices":[{"index":0,"finish_reason":"stop"}]}',
    "done without a message": lambda _: b'{"choices":[{"index":0,"finish_reason":"stop"}],"done":true}',
    "no choices": lambda _: b'{"choices":[]}',
    "two objects": lambda whole: whole + whole,
    "two lines": lambda whole: whole + b"\n" + whole,
    "rubbish behind": lambda whole: whole + b"x",
    "packed": gzip.compress,
    "error object": lambda _: b'{"error":{"message":"out of memory"}}',
    "error sentence": lambda _: b'{"error":"out of memory"}',
    "object of type error": lambda _: b'{"object":"error","message":"out of memory","code":500}',
}

AFTER_THE_END = {"two objects", "two lines", "rubbish behind"}


@PAIRS
@pytest.mark.parametrize("kind", NO_ANSWERS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_whole_answer_that_is_none_is_a_failure_before_anything_is_said(
    engine: Api, client: Api, kind: str, stream: bool
) -> None:
    if engine is Api.OLLAMA and kind in {*AFTER_THE_END, "done without a message"}:
        stream = False  # a whole answer of Ollama is also the last line of a stream
    body = NO_ANSWERS[kind](WHOLE[engine])
    routes = {ROUTE[engine]: Says(body, headers={"Content-Type": "application/json"})}
    async with serving(FakeEngine(routes)) as server, backend_at(server.url, engine) as backend:
        before, error = await until_it_fails(backend, asked(client, stream))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert not any(isinstance(event, Delta | Finished) for event in before)
    assert ("out of memory" in error.message) == ("error" in kind)


async def test_a_block_that_only_looks_like_an_end_passes_whole() -> None:
    line = (
        json.dumps({"message": {"role": "assistant", "content": 'true [DONE] "done":true'}, "done": False}).encode()
        + b"\n"
    )
    sent = line + line + OLLAMA_FRAMES[-1]
    assert frames(await got(Api.OLLAMA, Api.OLLAMA, sent)) == sent
    event = b'data: {"choices":[{"index":0,"delta":{"content":"data: [DONE]\\n\\n"}}]}\n\n'
    sent = event + event + OPENAI_STREAM
    assert frames(await got(Api.OPENAI, Api.OPENAI, sent)) == sent


@PAIRS
async def test_nothing_of_a_stream_without_a_good_frame_reaches_the_client(engine: Api, client: Api) -> None:
    bad = b"data: {oops\n\n" if engine is Api.OPENAI else b"{oops\nnull\n"
    routes = {ROUTE[engine]: streams(bad, bad, content_type=TYPE[engine])}
    async with serving(FakeEngine(routes)) as server, backend_at(server.url, engine) as backend:
        before, error = await until_it_fails(backend, asked(client, stream=True))
    assert frames(before) == b""
    assert "no frame can be read" in error.message
    assert "oops" not in f"{error.message}{error.detail}"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_mark_of_the_end_alone_is_no_answer(client: Api) -> None:
    routes = {CHAT: streams(b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n", content_type=SSE)}
    async with serving(FakeEngine(routes)) as server, backend_at(server.url, Api.OPENAI) as backend:
        before, error = await until_it_fails(backend, asked(client, stream=True))
    assert frames(before) == b""
    assert "before it was complete" in error.message


def pieces(*chunks: bytes, before_s: float = 0.0, pause_s: float = 0.0, content_type: str = "application/json") -> Any:
    """A handler that works for some time and then sends its answer with pauses; it never closes the connection."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write(b" ")  # some say so that they live
        await asyncio.sleep(before_s)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause_s)
        await asyncio.Event().wait()
        raise AssertionError

    return handle


def hurried(client: Api) -> Request:
    return replace(asked(client, stream=False), whole_pause_s=0.2)


@PAIRS
@pytest.mark.parametrize(
    "cut",
    [lambda body: (body[:20],), lambda body: (body[at : at + 1] for at in range(len(body) - 1))],
    ids=["stops", "trickles"],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
async def test_an_answer_in_one_piece_that_does_not_go_on_is_given_up(
    engine: Api, client: Api, cut: Callable[[bytes], Any], content_type: str
) -> None:
    handler = pieces(*cut(WHOLE[engine]), pause_s=0.05, content_type=content_type)
    async with serving(FakeEngine({ROUTE[engine]: handler})) as raw, backend_at(raw.url, engine) as backend:
        events, error = await until_it_fails(backend, hurried(client))
    assert not any(isinstance(event, Delta | Finished) for event in events)
    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT


@PAIRS
async def test_an_answer_in_one_piece_may_come_after_long_work_and_its_connection_may_stay_open(
    engine: Api, client: Api
) -> None:
    handler = pieces(WHOLE[engine], before_s=0.5)
    async with serving(FakeEngine({ROUTE[engine]: handler})) as raw, backend_at(raw.url, engine) as backend:
        events = await events_of(backend, hurried(client))
    assert isinstance(events[-1], Finished)


async def test_a_large_answer_that_comes_steadily_is_taken_however_long_it_takes() -> None:
    body = WHOLE[Api.OPENAI].replace(b"yes", b"y" * 3000)
    handler = pieces(*(body[at : at + 300] for at in range(0, len(body), 300)), pause_s=0.05)
    async with serving(FakeEngine({CHAT: handler})) as raw, backend_at(raw.url, Api.OPENAI) as backend:
        events = await events_of(backend, hurried(Api.OPENAI))
    assert isinstance(events[-1], Finished)


def test_another_apis_mark_of_the_end_reaches_no_client() -> None:
    events = (
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    )
    words = b"".join(
        b"event: %s\ndata: %s\n\n" % (str(each["type"]).encode(), json.dumps(each).encode()) for each in events
    )
    reader = PassThrough(Anthropic(), anthropic_request(stream=True), None, "the backend")
    passed = reader.feed(words + b"data: [DONE]\n\n")
    told = b"".join(each.frame or b"" for each in passed)
    assert b'"hi"' in told
    assert b"[DONE]" not in told
