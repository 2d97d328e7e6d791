"""A backend that means harm, or is broken, costs its own answer and nothing else."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.ollama.errors import render_error as ollama_error
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama_chat
from ollama_proxyd.dialects.ollama.parse import parse_embed as ollama_embed
from ollama_proxyd.dialects.openai.errors import render_error as openai_error
from ollama_proxyd.dialects.openai.parse import parse_chat as openai_chat
from ollama_proxyd.edges.backends import stream
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.server import said_in
from ollama_proxyd.services.ports import Backend
from tests.upstreams.fake_engines import FakeEngine, Handler, Says, a_client, playing, serving, spec_of, streams
from tests.upstreams.frames import OPENAI_FRAMES

SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", {"Content-Type": "application/json"}
CHAT, API_CHAT = "POST /v1/chat/completions", "POST /api/chat"
FORGED = "oops \x1b[2J\r\n12:00:00 INFO backend it is up"
IN_ONE_LINE = "oops [2J 12:00:00 INFO backend it is up"
RENDER = {Api.OPENAI: openai_error, Api.OLLAMA: ollama_error}
PARSE = {Api.OPENAI: openai_chat, Api.OLLAMA: ollama_chat}
ROUTE = {Api.OPENAI: CHAT, Api.OLLAMA: API_CHAT}
TYPE = {Api.OPENAI: SSE, Api.OLLAMA: NDJSON}


def asked(client: Api, *, stream: bool = True, request_id: str = "") -> Request:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return PARSE[client](json.dumps(body).encode(), Hints(request_id=request_id))


@asynccontextmanager
async def a_backend(kind: Api, route: Says | Handler) -> AsyncGenerator[tuple[FakeEngine, Backend], None]:
    async with serving(FakeEngine({ROUTE[kind]: route, "POST /api/embed": route})) as engine, a_client() as client:
        yield engine, EngineBackend(spec_of(engine.url, kind), client)


async def answer(kind: Api, route: Says | Handler, request: Request) -> list[Event]:
    async with a_backend(kind, route) as (_, backend):
        return [event async for event in backend.answer(request, "tiny")]


async def failure(kind: Api, route: Says | Handler, request: Request) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await answer(kind, route, request)
    return caught.value


@pytest.mark.parametrize("request_id", ["req-1", "A.b_c-9", "x" * 64])
async def test_a_request_id_of_plain_characters_goes_to_the_backend(request_id: str) -> None:
    async with a_backend(Api.OPENAI, streams(*OPENAI_FRAMES, content_type=SSE)) as (engine, backend):
        _ = [event async for event in backend.answer(asked(Api.OPENAI, request_id=request_id), "tiny")]
    assert engine.asked[0].headers["X-Request-ID"] == request_id


@pytest.mark.parametrize("request_id", ["tcp://10.0.0.1:5555/evil", "a b", "x" * 65, "../x", "ä", "a\n", ""])
async def test_any_other_request_id_stays_here(request_id: str) -> None:
    async with a_backend(Api.OPENAI, streams(*OPENAI_FRAMES, content_type=SSE)) as (engine, backend):
        _ = [event async for event in backend.answer(asked(Api.OPENAI, request_id=request_id), "tiny")]
    assert "X-Request-ID" not in engine.asked[0].headers


@pytest.mark.parametrize(
    ("told", "retry_after_s"), [("7", 7.0), ("999999", 999999.0), ("9" * 7, None), ("9" * 400, None), ("-1", None)]
)
async def test_a_moment_to_come_back_has_at_most_six_digits(told: str, retry_after_s: float | None) -> None:
    error = await failure(Api.OPENAI, Says({"error": "busy"}, 503, {"Retry-After": told}), asked(Api.OPENAI))
    assert error.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    "body",
    [FORGED.encode(), {"error": FORGED}, {"error": {"message": FORGED}}, {"message": FORGED}, {"detail": FORGED}],
)
async def test_the_words_of_an_error_status_are_one_printable_line(body: Any) -> None:
    error = await failure(Api.OPENAI, Says(body, 500, JSON if isinstance(body, bytes) else {}), asked(Api.OPENAI))
    assert error.message.endswith(f"answered 500: {IN_ONE_LINE}")


@pytest.mark.parametrize("client", [Api.OPENAI, Api.OLLAMA])
@pytest.mark.parametrize("kind", [Api.OPENAI, Api.OLLAMA])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_words_of_an_error_in_an_answer_are_one_printable_line(client: Api, kind: Api, stream: bool) -> None:
    frame = json.dumps({"error": FORGED}).encode()
    sent = b"data: " + frame + b"\n\n" if kind is Api.OPENAI else frame + b"\n"
    error = await failure(kind, streams(sent, content_type=TYPE[kind]), asked(client, stream=stream))
    assert error.message.endswith(IN_ONE_LINE)
    assert error.message.isprintable()


def test_an_error_body_says_nothing_when_it_holds_nothing_to_show() -> None:
    assert said_in("\x1b\x00") is None
    assert said_in(json.dumps({"error": "\x1b", "message": "too busy"})) == "too busy"


async def test_a_content_type_that_is_no_text_is_shown_in_one_line() -> None:
    async def script(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: te\xff\xfe-t\r\nContent-Length: 0\r\n\r\n")

    async with playing(script) as server, a_client() as client:
        backend = EngineBackend(spec_of(server.url, Api.OPENAI), client)
        with pytest.raises(ProxyError) as caught:
            _ = [event async for event in backend.answer(asked(Api.OPENAI), "tiny")]
    assert "answered with te -t instead of JSON" in caught.value.message
    caught.value.message.encode()


def endless(piece: bytes, content_type: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(piece)
        return response

    return handle


@pytest.mark.parametrize(
    ("client", "kind", "piece"),
    [
        (Api.OLLAMA, Api.OPENAI, b'data: {"choices":[{"index":0,"delta":{"content":"zzzz"}}]}\n\n'),
        (Api.OPENAI, Api.OPENAI, b'data: {"choices":[{"index":0,"delta":{"content":"zzzz"}}]}\n\n'),
        (Api.OPENAI, Api.OLLAMA, b'{"message":{"content":"zzzz"},"done":false}\n'),
    ],
)
async def test_an_answer_without_end_is_not_gathered_without_end(
    client: Api, kind: Api, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_GATHERED_BYTES", 20_000)
    error = await failure(kind, endless(piece, TYPE[kind]), asked(client, stream=False))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert "more than 20000 bytes" in error.message


async def test_an_answer_without_end_may_be_streamed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_GATHERED_BYTES", 20_000)
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"zzzz"}}]}\n\n'
    got: list[Event] = []

    async def follow(events: AsyncGenerator[Event, None]) -> None:
        async for event in events:
            got.append(event)  # noqa: PERF401 - what came before the error must stay

    async with a_backend(Api.OPENAI, endless(piece, SSE)) as (_, backend):
        with pytest.raises(ProxyError, match="before it was complete"):
            await follow(backend.answer(asked(Api.OLLAMA), "tiny"))
    assert sum(isinstance(event, Delta) for event in got) == 1000


IMPOSSIBLE = [-1, 10**400, 1.5, 1e308, "many", [], True]


@pytest.mark.parametrize("tokens", IMPOSSIBLE)
@pytest.mark.parametrize("client", [Api.OPENAI, Api.OLLAMA])
@pytest.mark.parametrize("stream", [True, False])
async def test_impossible_counts_and_times_of_an_openai_server_are_not_believed(
    tokens: Any, client: Api, stream: bool
) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens, "prompt_tokens_details": {"cached_tokens": tokens}}
    clock = {"prompt_n": tokens, "predicted_n": tokens, "cache_n": tokens, "prompt_ms": -1, "predicted_ms": 1e308}
    choice = {"index": 0, "delta": {"content": "hi"}, "message": {"content": "hi"}, "finish_reason": "stop"}
    frame = json.dumps({"choices": [choice], "usage": usage, "timings": clock}).encode()
    sends = streams(b"data: " + frame + b"\n\ndata: [DONE]\n\n", content_type=SSE) if stream else Says(frame, 200, JSON)
    finished = (await answer(Api.OPENAI, sends, asked(client, stream=stream)))[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.prompt_tokens is None
    assert finished.usage.cached_tokens is None
    assert finished.usage.completion_tokens is None or finished.usage.estimated
    assert (finished.timings.prompt_s, finished.timings.decode_s) == (None, None)


@pytest.mark.parametrize("told", IMPOSSIBLE)
@pytest.mark.parametrize("client", [Api.OPENAI, Api.OLLAMA])
async def test_impossible_counts_and_times_of_an_ollama_are_not_believed(told: Any, client: Api) -> None:
    names = ("prompt_eval_count", "eval_count")
    clocks = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
    line = {"message": {"content": "hi"}, "done": True, **dict.fromkeys(names, told), **dict.fromkeys(clocks, told)}
    frame = json.dumps(line).encode() + b"\n"
    finished = (await answer(Api.OLLAMA, streams(frame, content_type=NDJSON), asked(client)))[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.prompt_tokens is None
    assert finished.usage.completion_tokens is None or finished.usage.estimated
    if not isinstance(told, float) or told > 1e300:
        assert finished.timings.decode_s is None
        assert finished.timings.total_s is None


async def test_impossible_counts_of_vectors_are_not_believed() -> None:
    request = ollama_embed(b'{"model":"tiny","input":["a"]}', Hints())
    said = {"embeddings": [[0.5]], "prompt_eval_count": -1, "total_duration": 10**400}
    finished = (await answer(Api.OLLAMA, Says(said), request))[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.prompt_tokens is None
    assert finished.timings.total_s is None


SECRET = "the fox of 1987 jumps over ümlauts and never tells where the dog is buried"


@pytest.mark.parametrize("client", [Api.OPENAI, Api.OLLAMA])
@pytest.mark.parametrize("kind", [Api.OPENAI, Api.OLLAMA])
@pytest.mark.parametrize("status", [200, 400, 422, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": f"cannot parse '{SECRET}' here", "type": "bad"}},
        {"error": f"cannot parse {SECRET}"},
        {"detail": [{"loc": ["body", "messages", 0], "msg": "cannot parse", "input": {"content": SECRET}}]},
        {"error": {"message": "cannot parse", "param": SECRET[10:50]}},
        {"error": {"message": "cannot parse", "x": ["y" * 10_000] * 15}},
        f"cannot parse {SECRET}".encode(),
    ],
)
async def test_an_engines_error_is_bounded_and_never_quotes_the_conversation(
    client: Api, kind: Api, status: int, body: Any
) -> None:
    fields = {"model": "tiny", "messages": [{"role": "user", "content": SECRET}], "stream": False}
    request = PARSE[client](json.dumps(fields).encode(), Hints())
    error = await failure(kind, Says(body, status, JSON if isinstance(body, bytes) else {}), request)
    told = RENDER[client](error)[1].decode()
    for words in (told, error.message):
        assert not any(SECRET[at : at + 24] in words for at in range(len(SECRET) - 24))
        assert len(words) < 5000
    assert isinstance(json.loads(told)["error"], dict if client is Api.OPENAI else str)
    if status != 200:
        assert "cannot parse" in told
