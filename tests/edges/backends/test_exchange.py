"""A request and its answer: frames pass untouched in one dialect, meaning passes between two."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Embedded, Event, Finished, FinishReason, Flow, Usage
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.anthropic.parse import parse_message
from ollama_proxyd.dialects.ollama import parse as ollama_parse
from ollama_proxyd.dialects.ollama.errors import render_error as ollama_error
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama_chat
from ollama_proxyd.dialects.ollama.parse import parse_embed as ollama_embed
from ollama_proxyd.dialects.openai.errors import render_error as openai_error
from ollama_proxyd.dialects.openai.parse import parse_chat as openai_chat
from ollama_proxyd.dialects.openai.parse import parse_embedding as openai_embeddings
from ollama_proxyd.dialects.openai.vectors import pack
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.ports import Backend
from tests.upstreams.fake_engines import FakeEngine, RawServer, Says, a_client, playing, serving, spec_of, streams
from tests.upstreams.frames import OLLAMA_FRAMES, OLLAMA_STREAM, OPENAI_FRAMES, OPENAI_STREAM

SSE, NDJSON = "text/event-stream", "application/x-ndjson"
CHAT, API_CHAT = "POST /v1/chat/completions", "POST /api/chat"


def openai_request(model: str = "tiny", **fields: Any) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True, **fields}
    return openai_chat(json.dumps(body).encode(), Hints(request_id="req-1"))


def ollama_request(model: str = "tiny", **fields: Any) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    return ollama_chat(json.dumps(body).encode(), Hints())


def anthropic_request(model: str = "tiny", **fields: Any) -> Request:
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_message(json.dumps(body).encode(), Hints())


@asynccontextmanager
async def backend_at(
    url: str, kind: Api, flavor: str = "generic", timeouts: Timeouts | None = None
) -> AsyncGenerator[Backend, None]:
    async with a_client(timeouts) as client:
        yield EngineBackend(spec_of(url, kind, flavor), client)


@pytest.fixture(params=[False, True], ids=["asked for", "poured"], autouse=True)
def pours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule holds for events that are asked for one by one, and for those that are told as they come."""
    monkeypatch.setitem(WAY, "pours", request.param)


WAY = {"pours": False}


async def gather(got: list[Event], backend: Backend, request: Request, model: str = "tiny") -> list[Event]:
    def take(event: Event | bytes) -> bool:
        got.append(Delta(frame=event) if isinstance(event, bytes) else event)
        return True

    async for event in backend.answer(request, model):
        if not isinstance(event, Flow):
            take(event)
        elif WAY["pours"]:
            await event.pour(take)
    return got


async def events_of(backend: Backend, request: Request, model: str = "tiny") -> list[Event]:
    return await gather([], backend, request, model)


async def answer(kind: Api, routes: dict[str, Any], request: Request, flavor: str = "generic") -> list[Event]:
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, kind, flavor) as backend:
        return await events_of(backend, request)


def frames(events: list[Event]) -> bytes:
    return b"".join(event.frame or b"" for event in events if isinstance(event, Delta))


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def until_it_fails(backend: Backend, request: Request) -> tuple[list[Event], ProxyError]:
    """What came before the error, and the error."""
    got: list[Event] = []
    with pytest.raises(ProxyError) as caught:
        await gather(got, backend, request)
    return got, caught.value


async def test_an_engine_that_goes_on_with_comments_alone_is_told_as_too_slow() -> None:
    async def comments(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": SSE})
        await response.prepare(request)
        for piece in (*OPENAI_FRAMES[:2], *[b": alive\n\n"] * 20):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    timeouts = Timeouts(first_byte_s=5, idle_s=0.3)
    engine = FakeEngine({CHAT: comments})
    async with serving(engine), backend_at(engine.url, Api.OPENAI, timeouts=timeouts) as it:
        _, error = await until_it_fails(it, openai_request(stream=True))
    assert "was too slow to go on with its answer" in error.message


def one_byte_each(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 1] for at in range(len(data)))


def sevens(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 7] for at in range(0, len(data), 7))


def frame_by_frame(data: bytes) -> tuple[bytes, ...]:
    end = b"\n\n" if data.startswith((b"data:", b"event:")) else b"\n"
    return tuple(frame + end for frame in data.removesuffix(end).split(end))


def at_once(data: bytes) -> tuple[bytes, ...]:
    return (data,)


@pytest.mark.parametrize("chunking", [one_byte_each, sevens, at_once])
@pytest.mark.parametrize(
    ("kind", "route", "sent", "content_type", "request_of"),
    [
        (Api.OPENAI, CHAT, OPENAI_FRAMES, SSE, openai_request),
        (Api.OLLAMA, API_CHAT, OLLAMA_FRAMES, NDJSON, ollama_request),
    ],
    ids=["openai", "ollama"],
)
async def test_frames_of_one_dialect_pass_byte_for_byte_however_they_are_chunked(
    chunking: Callable[[bytes], tuple[bytes, ...]],
    kind: Api,
    route: str,
    sent: tuple[bytes, ...],
    content_type: str,
    request_of: Callable[[], Request],
) -> None:
    data = b"".join(sent)
    events = await answer(kind, {route: streams(*chunking(data), content_type=content_type)}, request_of())
    assert events[0] == Accepted()
    assert frames(events) == data
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (23, 2)
    for event in events[1:-1]:
        assert isinstance(event, Delta)
        assert event.frame is not None
        assert event.frame.endswith(b"\n"), "a frame is whole"


async def test_the_clients_bytes_reach_a_backend_of_its_dialect_unchanged() -> None:
    body = b'{ "model":"tiny", "zeta":[1.0,{"b":null}],"stream":true,"messages":[{"role":"user","content":"hi"}] }'
    routes = {CHAT: streams(*OPENAI_FRAMES, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        await events_of(backend, openai_chat(body, Hints(request_id="req-1")))
    asked = engine.asked[0]
    assert asked.body == body
    assert asked.headers["X-Request-ID"] == "req-1"
    assert asked.headers["Accept"] == "text/event-stream, application/json"
    assert "Authorization" not in asked.headers


async def test_a_key_goes_to_the_backend_that_asks_for_it() -> None:
    routes = {CHAT: streams(*OPENAI_FRAMES, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, a_client() as client:
        await events_of(EngineBackend(spec_of(engine.url, Api.OPENAI), client, "secret"), openai_request())
    assert engine.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("endpoint", ["", "/", "/v1", "/v1/"])
async def test_an_endpoint_may_be_written_with_the_apis_base_or_without(endpoint: str) -> None:
    routes = {CHAT: streams(*OPENAI_FRAMES, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url + endpoint, Api.OPENAI) as backend:
        assert await events_of(backend, openai_request())


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_to_tell_its_energy_is_written_anew(*, stream: bool) -> None:
    whole = b'{"id":"1","object":"chat.completion","created":1,"model":"tiny","choices":[{"index":0,"message":'
    whole += b'{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
    routes = {
        CHAT: streams(*OPENAI_FRAMES, content_type=SSE) if stream else streams(whole, content_type="application/json")
    }
    asked = openai_request(stream=stream)
    assert frames(await answer(Api.OPENAI, routes, asked))
    telling = replace(asked, hints=Hints(include_energy=True))
    events = await answer(Api.OPENAI, routes, telling)
    assert not frames(events)
    assert "".join(event.text for event in events if isinstance(event, Delta))


async def test_a_flavor_has_its_own_base() -> None:
    routes = {"POST /v3/chat/completions": streams(*OPENAI_FRAMES, content_type=SSE)}
    assert frames(await answer(Api.OPENAI, routes, openai_request(), "ovms")) == OPENAI_STREAM


async def test_the_client_sees_its_own_name_for_the_model_in_every_frame() -> None:
    routes = {CHAT: streams(*OPENAI_FRAMES, content_type=SSE)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        passed = frames(await events_of(backend, openai_request("tiny:latest")))
    assert engine.asked[0].json["model"] == "tiny"
    assert passed == OPENAI_STREAM.replace(b'"model":"tiny"', b'"model":"tiny:latest"')


async def test_nothing_but_the_name_changes_in_a_frame_or_an_answer() -> None:
    sent = b'data: { "model" : "tiny" , "choices":[ {"index":0,"delta":{},"finish_reason": "stop"} ] }\r\n\r\n'
    sent += b"data: [DONE]\r\n\r\n"
    events = await answer(Api.OPENAI, {CHAT: streams(sent, content_type=SSE)}, openai_request("tiny:latest"))
    assert frames(events) == sent.replace(b'"tiny"', b'"tiny:latest"')
    whole = b'{\n  "model": "tiny",\n  "choices": [ {"index": 0, "finish_reason": "stop", "message": {}} ]\n}\n'
    routes = {CHAT: Says(whole, headers={"Content-Type": "application/json"})}
    events = await answer(Api.OPENAI, routes, openai_request("tiny:latest", stream=False))
    assert frames(events) == whole.replace(b'"tiny"', b'"tiny:latest"')


async def test_ollamas_frames_are_not_rewritten_when_it_repeats_the_name_as_asked() -> None:
    routes = {API_CHAT: streams(*OLLAMA_FRAMES, content_type=NDJSON)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        events = await events_of(backend, ollama_request(), "tiny:latest")
    assert engine.asked[0].json["model"] == "tiny"
    assert frames(events) == OLLAMA_STREAM


async def test_ollamas_frames_are_renamed_when_the_model_has_another_name_there() -> None:
    sent = OLLAMA_STREAM.replace(b'"tiny"', b'"other:1b"')
    routes = {API_CHAT: streams(sent, content_type=NDJSON)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        events = await events_of(backend, ollama_request(), "other:1b")
    assert engine.asked[0].json["model"] == "other:1b"
    assert frames(events) == OLLAMA_STREAM


async def test_a_last_frame_without_its_newline_still_counts_and_gets_it() -> None:
    events = await answer(Api.OLLAMA, {API_CHAT: streams(OLLAMA_STREAM[:-1], content_type=NDJSON)}, ollama_request())
    assert frames(events) == OLLAMA_STREAM
    assert isinstance(events[-1], Finished)
    events = await answer(Api.OPENAI, {CHAT: streams(OPENAI_STREAM[:-2], content_type=SSE)}, openai_request())
    assert frames(events) == OPENAI_STREAM
    assert isinstance(events[-1], Finished)


async def test_frames_are_counted_when_nobody_counts_tokens() -> None:
    sent = [frame for frame in OPENAI_FRAMES if b"usage" not in frame]
    events = await answer(Api.OPENAI, {CHAT: streams(*sent, content_type=SSE)}, openai_request())
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.estimated


@pytest.mark.parametrize(
    ("kind", "route", "sent", "content_type", "request_of"),
    [
        (Api.OPENAI, CHAT, OPENAI_FRAMES[:4], SSE, openai_request),
        (Api.OLLAMA, API_CHAT, OLLAMA_FRAMES[:2], NDJSON, ollama_request),
        (Api.OPENAI, CHAT, OPENAI_FRAMES[:4], SSE, lambda: ollama_request(stream=True)),
        (Api.OLLAMA, API_CHAT, OLLAMA_FRAMES[:2], NDJSON, openai_request),
    ],
    ids=["openai", "ollama", "openai-for-ollama", "ollama-for-openai"],
)
async def test_a_stream_without_its_proper_end_is_an_error_after_what_came(
    kind: Api, route: str, sent: tuple[bytes, ...], content_type: str, request_of: Callable[[], Request]
) -> None:
    routes = {route: streams(*sent, b'{"half', content_type=content_type)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, kind) as backend:
        got, error = await until_it_fails(backend, request_of())
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert any(isinstance(event, Delta) for event in got)
    assert frames(got) in {b"", b"".join(sent)}


async def test_an_error_in_place_of_the_first_frame_comes_before_anything_else() -> None:
    routes = {API_CHAT: streams(b'{"error":"model runner has stopped"}\n', content_type=NDJSON)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        got, error = await until_it_fails(backend, ollama_request())
    assert got == [Accepted()]
    assert "model runner has stopped" in error.message


async def test_an_error_in_place_of_the_first_frame_goes_on_in_the_engines_own_words() -> None:
    said = {"message": "out of memory", "type": "server_error", "code": 500, "extra": 1}
    sent = b"data: " + json.dumps({"error": said}).encode() + b"\n\n"
    async with (
        serving(FakeEngine({CHAT: streams(sent, content_type=SSE)})) as engine,
        backend_at(engine.url, Api.OPENAI) as backend,
    ):
        got, error = await until_it_fails(backend, openai_request())
    assert got == [Accepted()]
    assert json.loads(error.detail or "") == {"error": said}


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
EMPTY = b'{"model":"tiny","message":{"role":"assistant","content":""},"done":false}\n'


@pytest.mark.parametrize(
    ("kind", "route", "sent", "content_type", "request_of"),
    [
        (Api.OPENAI, CHAT, (b": keepalive\n\n", ROLE, b": keepalive\n\n"), SSE, openai_request),
        (Api.OPENAI, CHAT, (b"data: this is no JSON\n\n",), SSE, openai_request),
        (Api.OPENAI, CHAT, (ROLE, b"data: null\n\n"), SSE, openai_request),
        (Api.OLLAMA, API_CHAT, (EMPTY, EMPTY), NDJSON, ollama_request),
        (Api.OLLAMA, API_CHAT, (EMPTY, b"[1,2]\n"), NDJSON, ollama_request),
    ],
)
async def test_a_stream_that_breaks_before_it_means_anything_fails_before_it_begins(
    kind: Api, route: str, sent: tuple[bytes, ...], content_type: str, request_of: Callable[[], Request]
) -> None:
    routes = {route: streams(*sent, content_type=content_type)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, kind) as backend:
        got, _ = await until_it_fails(backend, request_of())
    assert got == [Accepted()]


async def test_what_meant_nothing_yet_goes_ahead_of_what_does() -> None:
    sent = (b": keepalive\n\n", ROLE, *OPENAI_FRAMES)
    events = await answer(Api.OPENAI, {CHAT: streams(*sent, content_type=SSE)}, openai_request())
    assert events[1] == Delta(frame=b"".join(sent[:4]))
    assert frames(events) == b"".join(sent)


@pytest.mark.parametrize("pieces", [at_once, sevens])
async def test_an_error_among_the_frames_is_raised_after_what_came_before_it(
    pieces: Callable[[bytes], tuple[bytes, ...]],
) -> None:
    said = b'{"error":"model runner has stopped"}\n'
    routes = {API_CHAT: streams(*pieces(b"".join((*OLLAMA_FRAMES[:2], said))), content_type=NDJSON)}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        got, error = await until_it_fails(backend, ollama_request())
    assert frames(got) == b"".join(OLLAMA_FRAMES[:2])
    assert ollama_error(error)[1] == said.strip()


STRANGE = {"guided_json": {"type": "object"}, "messages": [{"role": "user", "content": [{"type": "new", "new": 1}]}]}
"""Fields that only an engine of the client's own dialect can read."""


async def test_in_one_dialect_a_field_called_error_makes_nobody_read_the_request() -> None:
    sent = b'data: {"error":null,"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    sent += b"data: [DONE]\n\n"
    events = await answer(Api.OPENAI, {CHAT: streams(sent, content_type=SSE)}, openai_request(**STRANGE))
    assert frames(events) == sent


async def test_in_one_dialect_a_whole_answer_instead_of_a_stream_makes_nobody_read_the_request() -> None:
    body = {"choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "yes"}}]}
    assert text(await answer(Api.OPENAI, {CHAT: Says(body)}, openai_request(**STRANGE))) == "yes"


async def test_an_openai_backend_answers_an_ollama_client() -> None:
    routes = {CHAT: streams(*sevens(OPENAI_STREAM), content_type=SSE)}
    events = await answer(Api.OPENAI, routes, ollama_request(stream=True))
    assert text(events) == "Grüß Gott"
    assert frames(events) == b""
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.LENGTH
    assert events[-1].usage == Usage(23, 2, 22)


@pytest.mark.parametrize(
    "words",
    [
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
            ]
        },
        {"error": {"message": "Unrecognized request argument supplied: stream_options"}},
    ],
)
async def test_an_engine_that_refuses_what_is_added_to_a_request_is_asked_without_it_from_then_on(words: Any) -> None:
    async def strict(request: web.Request) -> web.StreamResponse:
        if "stream_options" in await request.json():
            return web.json_response(words, status=422)
        return await streams(OPENAI_STREAM, content_type=SSE)(request)

    async with serving(FakeEngine({CHAT: strict})) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        for count in (2, 3):
            assert text(await events_of(backend, ollama_request(stream=True))) == "Grüß Gott"
            assert sum(each.path == "/v1/chat/completions" for each in engine.asked) == count
        asked = openai_request(stream=True, stream_options={"include_usage": True})
        with pytest.raises(ProxyError):
            await events_of(backend, asked)


async def test_an_engine_that_repeats_the_request_in_its_complaints_is_asked_for_the_usage_still() -> None:
    async def picky(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if asked.get("seed") == 13:
            return web.json_response({"detail": [{"loc": ["body"], "msg": "no such seed", "input": asked}]}, status=422)
        return await streams(OPENAI_STREAM, content_type=SSE)(request)

    async with serving(FakeEngine({CHAT: picky})) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        with pytest.raises(ProxyError, match="no such seed"):
            await events_of(backend, ollama_request(stream=True, options={"seed": 13}))
        await events_of(backend, ollama_request(stream=True))
        assert "stream_options" in json.loads(engine.asked[-1].body)


async def test_an_ollama_backend_answers_an_openai_client() -> None:
    routes = {API_CHAT: streams(*sevens(OLLAMA_STREAM), content_type=NDJSON)}
    events = await answer(Api.OLLAMA, routes, openai_request(user="somebody"))
    assert text(events) == "Grüß Gott"
    assert isinstance(events[0], Accepted)
    assert "user" in events[0].ignored_fields
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == Usage(23, 2)


async def test_a_whole_answer_passes_as_one_frame() -> None:
    body = b'{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"yes"}}],'
    body += b' "model":"tiny", "usage":{"completion_tokens":1,"prompt_tokens":4}}'
    routes = {CHAT: Says(body, headers={"Content-Type": "application/json; charset=utf-8"})}
    events = await answer(Api.OPENAI, routes, openai_request(stream=False))
    assert events[1] == Delta(frame=body)
    assert events[2] == Finished(FinishReason.STOP, Usage(4, 1))


async def test_a_whole_answer_is_decoded_for_the_other_dialect() -> None:
    body = {"model": "tiny", "message": {"role": "assistant", "content": "yes"}, "done": True, "eval_count": 1}
    events = await answer(Api.OLLAMA, {API_CHAT: Says(body)}, openai_request(stream=False))
    assert text(events) == "yes"
    assert isinstance(events[-1], Finished)


async def test_a_whole_answer_to_a_wish_for_a_stream_becomes_events() -> None:
    body = {"choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "yes"}}]}
    events = await answer(Api.OPENAI, {CHAT: Says(body)}, openai_request())
    assert text(events) == "yes"
    assert frames(events) == b""


async def test_embeddings_cross_the_dialects_both_ways() -> None:
    ollama = ollama_embed(b'{"model":"tiny","input":["a","b"]}', Hints())
    vectors = {"data": [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]}
    events = await answer(Api.OPENAI, {"POST /v1/embeddings": Says(vectors)}, ollama)
    assert Embedded(((1.0, 0.0), (0.0, 1.0))) in events
    openai = openai_embeddings(b'{"model":"tiny","input":"a"}', Hints())
    events = await answer(Api.OLLAMA, {"POST /api/embed": Says({"embeddings": [[1.0, 0.0]]})}, openai)
    assert Embedded(((1.0, 0.0),)) in events


@pytest.mark.parametrize(("keep_alive", "reason"), [(0, FinishReason.UNLOAD), ("5m", FinishReason.LOAD)])
async def test_a_wish_to_load_needs_no_call_to_an_openai_backend(keep_alive: object, reason: FinishReason) -> None:
    request = ollama_chat(json.dumps({"model": "tiny", "keep_alive": keep_alive}).encode(), Hints())
    events = await answer(Api.OPENAI, {}, request)
    assert events == [Accepted(ignored_fields=("keep_alive",)), Finished(reason)]


async def test_closing_the_answer_closes_the_connection_upstream_at_once() -> None:
    handler = streams(*OPENAI_FRAMES[:2], content_type=SSE, then_hang=True)
    async with serving(FakeEngine({CHAT: handler})) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        async with aclosing(backend.answer(openai_request(), "tiny")) as events:
            assert isinstance(await anext(events), Accepted)
            assert isinstance(await anext(events), Delta)
        await asyncio.wait_for(engine.left.wait(), 1)


async def test_cancelling_a_wait_for_the_first_byte_closes_the_connection_upstream_at_once() -> None:
    reached = asyncio.Event()

    async def thinks(request: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(FakeEngine({CHAT: thinks})) as engine, backend_at(engine.url, Api.OPENAI) as backend:
        task = asyncio.create_task(events_of(backend, openai_request()))
        await reached.wait()
        task.cancel()
        await asyncio.wait_for(engine.left.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def refused(status: int, body: Any, headers: dict[str, str] | None = None) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await answer(Api.OPENAI, {CHAT: Says(body, status, headers or {})}, openai_request())
    return caught.value


async def test_a_refusal_keeps_the_backends_words_and_status() -> None:
    error = await refused(400, {"error": {"message": "bad temperature", "type": "invalid_request_error"}})
    assert (error.kind, error.status, error.message) == (ErrorKind.UPSTREAM_REJECTED, 400, "bad temperature")
    assert json.loads(error.detail or "")["error"]["type"] == "invalid_request_error"
    assert (await refused(404, {"error": "model 'x' not found"})).message == "model 'x' not found"


@pytest.mark.parametrize("status", [401, 403, 407])
async def test_a_key_that_is_refused_is_ours_and_not_the_clients(status: int) -> None:
    error = await refused(status, {"error": {"message": "Incorrect API key: sk-secret"}})
    assert (error.kind, error.status, error.detail) == (ErrorKind.UPSTREAM_FAILED, status, None)
    assert f"refused our credentials ({status})" in error.message
    assert "api_key_env" in error.message
    assert "sk-secret" not in error.message


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("told", "wait_s"), [({"Retry-After": "30"}, 30.0), ({"Retry-After": "soon"}, None), ({}, None)]
)
async def test_a_backend_that_asks_for_patience_may_say_for_how_long(
    status: int, told: dict[str, str], wait_s: float | None
) -> None:
    assert (await refused(status, {"error": "busy"}, told)).retry_after_s == wait_s


async def test_nobody_is_asked_to_come_back_after_a_failure_that_will_not_pass() -> None:
    assert (await refused(500, {"error": "broken"})).retry_after_s is None


@pytest.mark.parametrize("status", [400, 404, 405, 502])
@pytest.mark.parametrize("body", [b"{status}: Not Found", b"{status} page not found\n", b"page not found"])
async def test_words_of_a_server_that_are_no_answer_of_its_api_name_it(status: int, body: bytes) -> None:
    error = await refused(status, body.replace(b"{status}", str(status).encode()))
    words = "Not Found" if b":" in body else "page not found"
    assert error.message.startswith("backend it at http://127.0.0.1:")
    assert error.message.endswith(f"answered {status}: {words}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_failure_of_the_backend_may_be_tried_elsewhere(status: int) -> None:
    error = await refused(status, {"error": {"message": "Loading model", "code": status}}, {"Retry-After": "3"})
    assert (error.kind, error.status, error.retry_after_s) == (ErrorKind.UPSTREAM_FAILED, status, 3.0)
    assert error.message.startswith("backend it at http://127.0.0.1:")
    assert error.message.endswith(f"answered {status}: Loading model")


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        *((status, status) for status in (400, 404, 405, 409, 413, 422, 429, 501, 503)),
        *((status, 502) for status in (204, 302, 307, 401, 403, 407, 408, 425, 500, 502, 504)),
        (529, 503),  # Anthropic: overloaded
    ],
)
async def test_what_a_backend_answers_becomes_the_same_status_for_clients_of_both_dialects(
    answered: int, told: int
) -> None:
    error = await refused(answered, b"" if answered == 204 else {"error": {"message": "no"}}, {"Location": "/x"})
    assert (ollama_error(error)[0], openai_error(error)[0]) == (told, told)


async def test_a_web_page_is_no_answer() -> None:
    error = await refused(200, b"<html>", {"Content-Type": "text/html"})
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert "answered with text/html instead of JSON" in error.message


async def test_a_line_of_almost_sixteen_mebibytes_passes_and_a_longer_one_is_refused() -> None:
    limit = 16 * 1024 * 1024
    line = b'{"message":{"role":"assistant","content":"' + b"x" * (limit - 100) + b'"},"done":false}\n'
    sent = line + OLLAMA_FRAMES[-1]
    events = await answer(Api.OLLAMA, {API_CHAT: streams(sent, content_type=NDJSON)}, ollama_request())
    assert frames(events) == sent
    with pytest.raises(ProxyError, match="longer than the limit"):
        await answer(Api.OLLAMA, {API_CHAT: streams(b"x" * (limit + 1), content_type=NDJSON)}, ollama_request())


async def test_a_stream_of_http_1_0_passes() -> None:
    async def old(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.request(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + OPENAI_STREAM)
        await writer.drain()

    async with playing(old) as raw, backend_at(raw.url, Api.OPENAI, "mlx") as backend:
        assert frames(await events_of(backend, openai_request())) == OPENAI_STREAM


async def test_ollama_answers_an_openai_clients_embeddings_itself() -> None:
    body = b'{"model":"tiny","input":"a",  "encoding_format":"base64"}'
    said = b'{"object":"list", "data":[{"index":0,"embedding":"AACAPw=="}],"model":"tiny","usage":{"prompt_tokens":4}}'
    routes = {"POST /v1/embeddings": Says(said, headers={"Content-Type": "application/json"})}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        events = await events_of(backend, openai_embeddings(body, Hints()))
    assert engine.asked[0].body == body
    assert frames(events) == said
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.prompt_tokens == 4


ONE, TWO = [0.6, 0.8], [1.0, 0.0]
OF_TWO = b'{"model":"tiny","input":["a","b"]}'


@pytest.mark.parametrize(
    "data",
    [
        [{"embedding": ONE}, {"embedding": TWO}],
        [{"embedding": TWO, "index": 1}, {"embedding": ONE, "index": None}],
        [None, {"embedding": ONE, "index": 0}, {"embedding": TWO, "index": "1"}],
        [{"embedding": ["0.6", "0.8"], "index": 0}, {"embedding": [TWO], "index": 1}],
        [{"embedding": pack(TWO), "index": 1}, {"embedding": ONE, "index": 0}],
        [{"embedding": ONE, "index": 0}, {"embedding": TWO, "index": 0}],
        [{"embedding": TWO, "index": 2}, {"embedding": ONE, "index": 1}],
    ],
)
async def test_odd_vectors_are_written_anew_as_every_client_reads_them(data: object) -> None:
    events = await answer(
        Api.OPENAI, {"POST /v1/embeddings": Says({"data": data})}, openai_embeddings(OF_TWO, Hints()), "vllm"
    )
    assert Embedded((tuple(ONE), tuple(TWO))) in events


@pytest.mark.parametrize(
    ("api", "said"),
    [
        (Api.OPENAI, {"data": [{"embedding": ONE, "index": 0}]}),
        (Api.OPENAI, {"data": [{"embedding": ONE, "index": 0}, {"embedding": [], "index": 1}]}),
        (Api.OPENAI, {"data": [{"embedding": ONE, "index": 0}, {"embedding": [None, 1.0], "index": 1}]}),
        (Api.OLLAMA, {"embeddings": [ONE]}),
        (Api.OLLAMA, {"embeddings": [ONE, TWO, ONE]}),
        (Api.OLLAMA, {"embeddings": [ONE, []]}),
        (Api.OLLAMA, {"embeddings": [ONE, [None]]}),
        (Api.OLLAMA, {"embeddings": ONE}),
    ],
)
async def test_vectors_that_are_none_or_too_few_are_the_backends_failure(api: Api, said: object) -> None:
    route = "POST /v1/embeddings" if api is Api.OPENAI else "POST /api/embed"
    request = openai_embeddings(OF_TWO, Hints()) if api is Api.OPENAI else ollama_embed(OF_TWO, Hints())
    with pytest.raises(ProxyError) as caught:
        await answer(api, {route: Says(said)}, request)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


@pytest.mark.parametrize(
    ("given", "vectors"), [("[1,2]", 1), ("[[1,2],[3]]", 2), ('"a"', 1), ('[1,"a",2]', 1), ('["a",[1,"b"]]', 2)]
)
async def test_vectors_of_tokens_are_counted_and_pass(given: str, vectors: int) -> None:
    said = {"data": [{"embedding": ONE, "index": at} for at in range(vectors)], "model": "tiny"}
    request = openai_embeddings(f'{{"model":"tiny","input":{given}}}'.encode(), Hints())
    events = await answer(Api.OPENAI, {"POST /v1/embeddings": Says(said)}, request, "vllm")
    assert json.loads(frames(events)) == said


async def test_what_ollamas_own_openai_routes_would_lose_is_translated() -> None:
    routes = {
        "POST /api/embed": Says({"embeddings": [[1.0, 0.0]]}),
        API_CHAT: streams(OLLAMA_STREAM, content_type=NDJSON),
    }
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        await events_of(backend, openai_embeddings(b'{"model":"tiny","input":"a","keep_alive":"1h"}', Hints()))
        await events_of(backend, openai_request())
    assert [asked.path for asked in engine.asked] == ["/api/embed", "/api/chat"]
    assert engine.asked[0].json["keep_alive"] == "1h"


async def test_an_imitator_of_ollama_without_openais_routes_is_asked_in_ollamas_words() -> None:
    routes = {"POST /api/embed": Says({"embeddings": [[1.0, 0.0]]})}
    async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        events = await events_of(backend, openai_embeddings(b'{"model":"tiny","input":"a"}', Hints()))
    assert Embedded(((1.0, 0.0),)) in events
    assert [asked.path for asked in engine.asked] == ["/v1/embeddings", "/api/embed"]


async def test_a_stream_that_ends_with_its_finish_reason_alone_is_complete_and_gets_its_mark() -> None:
    sent = [frame for frame in OPENAI_FRAMES if b"[DONE]" not in frame]
    events = await answer(Api.OPENAI, {CHAT: streams(*sent, content_type=SSE)}, openai_request(), "transformers")
    assert frames(events) == b"".join(sent) + b"data: [DONE]\n\n"
    assert isinstance(events[-1], Finished)


KEPT = {API_CHAT: streams(OLLAMA_STREAM, content_type=NDJSON)}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, 17),
        ({"keep_alive": None}, 17),
        ({"keep_alive": "5m"}, "5m"),
        ({"keep_alive": -1}, -1),
        ({"keep_alive": 0}, 0),
    ],
)
async def test_ollama_is_told_how_long_a_model_stays_where_the_client_does_not_say(
    fields: dict[str, Any], told: object
) -> None:
    for asked in (ollama_request(**fields), openai_request(**fields)):
        async with serving(FakeEngine(KEPT)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
            backend.keep("tiny", 16.2)
            accepted = (await events_of(backend, asked))[0]
        assert engine.asked[0].json["keep_alive"] == told
        assert isinstance(accepted, Accepted)
        assert accepted.asked_s == (17 if told == 17 else None)


async def test_the_rest_of_a_request_stays_the_clients_bytes() -> None:
    asked = replace(ollama_request(), body=b'{ "model":"tiny", "messages":[{"role":"user","content":"hi"}] }\n')
    async with serving(FakeEngine(KEPT)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        backend.keep("tiny", 17)
        await events_of(backend, asked)
        backend.keep("tiny", None)
        await events_of(backend, asked)
    assert engine.asked[0].body == asked.body.replace(b" }\n", b' ,"keep_alive":17}\n')
    assert engine.asked[1].body == asked.body


async def test_a_request_that_only_loads_leaves_the_time_to_the_engine() -> None:
    loads = ollama_chat(b'{"model":"tiny"}', Hints())
    async with serving(FakeEngine(KEPT)) as engine, backend_at(engine.url, Api.OLLAMA) as backend:
        backend.keep("tiny", 17)
        await events_of(backend, replace(loads, stream=True))
    assert "keep_alive" not in engine.asked[0].json


async def test_lm_studio_is_told_in_its_own_word_and_an_engine_without_one_is_told_nothing() -> None:
    for flavor, told in (("lmstudio", {"ttl": 17}), ("vllm", {})):
        routes = {CHAT: streams(*OPENAI_FRAMES, content_type=SSE)}
        async with serving(FakeEngine(routes)) as engine, backend_at(engine.url, Api.OPENAI, flavor) as backend:
            backend.keep("tiny", 17)
            await events_of(backend, openai_request())
            assert (backend.can_keep, backend.can_unload) == (bool(told), False)
        assert {name: value for name, value in engine.asked[0].json.items() if name in {"ttl", "keep_alive"}} == told


@pytest.mark.parametrize("stream", [True, False])
async def test_a_large_request_of_another_dialect_is_read_once_and_not_in_the_loop(
    monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    read_in: list[threading.Thread] = []
    read = ollama_parse._message

    def noting(*message: Any) -> Any:
        read_in.append(threading.current_thread())
        return read(*message)

    monkeypatch.setattr(ollama_parse, "_message", noting)
    body = {"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": "x" * 2_000_000}]}
    said = (
        streams(*OPENAI_FRAMES, content_type=SSE)
        if stream
        else Says({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    await answer(Api.OPENAI, {CHAT: said}, ollama_parse.parse_chat(json.dumps(body).encode(), Hints()))
    (thread,) = read_in
    assert thread is not threading.main_thread()
