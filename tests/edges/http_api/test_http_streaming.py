"""The hot path: what comes from a backend goes to the client as it comes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest
from aiohttp.http_writer import StreamWriter
from aiohttp.test_utils import make_mocked_request

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason, Usage
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.dialects.base import Encoder, Stamps
from ollama_proxyd.dialects.openai.decode import ChunkDecoder
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.edges.http_api.streaming import deliver
from tests.edges.http_api.conftest import CHAT, Serve
from tests.fakes import FakeBackend, frames, reload, services_of, settle, spec_of

SSE_FRAMES = (b'data: {"a":1,  "odd":null}\n\n', b": a comment\n\n", b"data: [DONE]\n\n")
BROKEN = ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend broke off")


async def next_lines(reply: Any) -> bytes:
    async with asyncio.timeout(20):
        return bytes(await reply.content.readuntil(b"\n"))


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/v1/chat/completions", {**CHAT, "stream": True}, "text/event-stream"),
        ("/v1/completions", {"model": "tiny", "prompt": "x", "stream": True}, "text/event-stream"),
        ("/api/chat", CHAT, "application/x-ndjson"),
        ("/api/generate", {"model": "tiny", "prompt": "x"}, "application/x-ndjson"),
    ],
)
async def test_a_piece_goes_out_when_it_comes_in(
    serve: Serve, path: str, body: dict[str, Any], content_type: str
) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("npu", Accepted(), Delta("first"), gate, Delta("second"), Finished())
    site = await serve(backend)
    async with site.client.post(path, json=body) as reply:
        assert reply.status == 200
        assert reply.content_type == content_type
        assert b"first" in await next_lines(reply)
        gate.set()
        assert b"second" in await reply.read()


async def test_a_stream_is_not_to_be_cached_or_held_back(serve: Serve) -> None:
    answer = await (await serve()).chat(stream=True)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Transfer-Encoding"] == "chunked"


async def test_frames_of_the_clients_own_dialect_are_passed_on_untouched(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *frames(*SSE_FRAMES)))
    assert (await site.chat(stream=True)).body == b"".join(SSE_FRAMES)


async def test_nothing_follows_the_frames_of_the_clients_own_dialect(serve: Serve) -> None:
    for path in ("/v1/chat/completions", "/api/chat"):
        site = await serve(FakeBackend("npu", *frames(b"{}\n")))
        assert (await site.post(path, {**CHAT, "stream": True})).body == b"{}\n"


async def test_a_whole_answer_of_the_clients_own_dialect_is_passed_on_untouched(serve: Serve) -> None:
    body = b'{"id": "x",  "odd": [1.0, null]}\n'
    site = await serve(FakeBackend("npu", *frames(body)))
    answer = await site.chat()
    assert answer.body == body
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["Content-Type"] == "application/json"


async def test_the_backend_gets_the_clients_bytes(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    sent = b'{"unknown":0.10,"messages":[{"role":"user","content":"x"}],\n "model":"tiny"}'
    await site.ask("POST", "/v1/chat/completions", data=sent)
    request, model = backend.requests[0]
    assert request.body == sent
    assert model == "tiny:latest"


@pytest.mark.parametrize("kind", [ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT])
async def test_a_failure_before_the_first_piece_is_a_status_even_for_a_stream(serve: Serve, kind: ErrorKind) -> None:
    for steps in ((ProxyError(kind, "no"),), (Accepted(), ProxyError(kind, "no"))):
        site = await serve(FakeBackend("npu", *steps))
        answer = await site.chat(stream=True)
        assert answer.status in {502, 504}
        assert answer.json["error"]["message"]


async def test_a_failure_after_the_first_piece_ends_an_openai_stream_with_an_error_and_no_done(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta("first"), BROKEN))
    answer = await site.chat(stream=True)
    assert answer.status == 200
    assert b"[DONE]" not in answer.body
    last = answer.body.strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "the backend broke off"


async def test_a_failure_after_the_first_piece_ends_an_ollama_stream_with_an_error_line(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta("first"), BROKEN))
    answer = await site.post("/api/chat", CHAT)
    assert answer.status == 200
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert lines[-1] == {"error": "the backend broke off"}
    assert not any(line.get("done") for line in lines)


FRAME = {"object": "chat.completion.chunk", "created": 7, "model": "tiny", "id": "chatcmpl-first"}


def frame_of(**delta: str) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": None}]
    return b"data: " + json.dumps({**FRAME, "choices": choices}).encode() + b"\n\n"


async def test_a_stream_goes_on_under_the_ids_of_its_first_frames_however_many_break_at_once(serve: Serve) -> None:
    def breaks() -> tuple[Any, ...]:
        return Accepted(read=ChunkDecoder().feed), Delta(frame=frame_of(role="assistant", content="Hel")), BROKEN

    broken = FakeBackend("npu", *breaks())
    other = FakeBackend("cpu", Accepted(), Delta(text="lo"), Finished(FinishReason.STOP, Usage(5, 1)))
    site = await serve(broken, other)
    ask = partial(site.chat, {"X-Power-Efficient": "1"}, stream=True, stream_options={"include_usage": True})
    answers = await asyncio.gather(*[ask() for _ in range(20)])
    resumed = [outcome.resumed for outcome in site.services.ledger.recent()].count(("reset",))
    went_on = [answer for answer in answers if b"chatcmpl-first" in answer.body]
    assert resumed == len(went_on) > 1
    for answer in went_on:
        *frames, done = answer.body.decode().strip().split("\n\n")
        read = [json.loads(each.removeprefix("data: ")) for each in frames]
        assert done == "data: [DONE]"
        assert all({name: each[name] for name in FRAME} == FRAME for each in read)
        said = [choice["delta"] for each in read for choice in each["choices"]]
        assert "".join(each.get("content", "") for each in said) == "Hello"
        assert sum("role" in each for each in said) == 1
        assert read[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}


async def test_a_failure_in_the_middle_of_a_whole_answer_is_a_status(serve: Serve) -> None:
    for path in ("/v1/chat/completions", "/api/chat"):
        site = await serve(FakeBackend("npu", Accepted(), Delta("first"), BROKEN))
        assert (await site.post(path, {**CHAT, "stream": False})).status == 502


async def test_a_fault_of_ours_in_the_middle_of_a_stream_is_said_in_the_stream(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta("first"), ZeroDivisionError("oops")))
    answer = await site.chat({"X-Request-ID": "mine"}, stream=True)
    assert b"[DONE]" not in answer.body
    assert b"request id mine" in answer.body
    assert b"oops" not in answer.body
    assert "request mine" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_the_queue_takes_no_slot_and_no_place(serve: Serve, path: str, stream: bool) -> None:
    backend = FakeBackend(spec_of("npu", slots=1), Accepted(), Delta("first"), asyncio.Event())
    site = await serve(backend)
    body = {**CHAT, "stream": stream}
    works, waits, last = (asyncio.create_task(site.post(path, body)) for _ in range(3))
    waiting = site.services.admission.waiting
    async with asyncio.timeout(20):
        await waiting.until(lambda count: count == 2)
        waits.cancel()
        await waiting.until(lambda count: count == 1)
        works.cancel()
        await waiting.until(lambda count: count == 0)  # the last one got the slot that was freed
    await settle()
    assert len(backend.requests) == 2
    last.cancel()


async def test_a_running_request_keeps_the_backend_that_it_began_with_over_a_reload(serve: Serve) -> None:
    gate = asyncio.Event()
    old = FakeBackend("npu", Accepted(), Delta("old"), gate, Delta("older"), Finished())
    site = await serve(old)
    async with site.client.post("/api/chat", json=CHAT) as reply:
        assert b"old" in await next_lines(reply)
        await reload(site.services, FakeBackend("cpu"))
        assert (await site.post("/api/chat", CHAT)).headers["X-Backend-Used"] == "cpu"
        gate.set()
        assert b"older" in await reply.read()


async def test_stopping_the_server_cuts_off_what_does_not_end_in_its_time(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta("first"), asyncio.Event())
    site = await serve(backend)
    async with site.client.post("/api/chat", json=CHAT) as reply:
        await next_lines(reply)
        await site.server.stop()
        assert backend.open == 0


@pytest.mark.parametrize("wish", ["", "Connection: keep-alive\r\n"])
async def test_a_client_of_http_1_0_gets_the_same_bytes_and_sees_their_end(serve: Serve, wish: str) -> None:
    site = await serve(FakeBackend("npu", *frames(*SSE_FRAMES)))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    body = json.dumps({**CHAT, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\n{wish}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert answer.endswith(b"\r\n\r\n" + b"".join(SSE_FRAMES))
    assert b"chunked" not in answer


async def test_headers_wait_for_the_first_piece_to_leave_with_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[StreamWriter] = []
    monkeypatch.setattr(StreamWriter, "send_headers", alone.append)
    site = await serve(FakeBackend("npu", *frames(b"data: x\n\n")))
    assert (await site.chat(stream=True)).body == b"data: x\n\n"
    assert not [writer for writer in alone if writer.chunked]


class OneAnswer:
    """A gateway that keeps hold of its only answer, so that nothing but `aclose` can end it."""

    def __init__(self, *steps: Routed | Event) -> None:
        self.closed = False
        self.events = self._play(steps)

    def answer(self, _request: Request, *, flows: bool = False) -> AsyncGenerator[Routed | Event, None]:
        return self.events

    async def _play(self, steps: tuple[Routed | Event, ...]) -> AsyncGenerator[Routed | Event, None]:
        try:
            for step in steps:
                yield step
        finally:
            self.closed = True


class Mute(OpenAI):
    """A dialect that fails at the first piece."""

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:
        raise ZeroDivisionError


async def test_an_answer_is_closed_even_when_writing_it_fails() -> None:
    decision = (await services_of(FakeBackend("npu"))).gateway.explain(Query(model="tiny"))
    gateway = OneAnswer(Routed(decision, "npu"), Delta("x"), Delta("y"), Finished())
    asked = parse_chat(json.dumps({**CHAT, "stream": True}).encode(), Hints())
    with pytest.raises(ZeroDivisionError):
        await deliver(make_mocked_request("POST", "/"), gateway, asked, Mute(), 0)
    assert gateway.closed


async def test_usage_of_a_stream_reaches_the_books(serve: Serve) -> None:
    backend = FakeBackend("npu", Accepted(), Delta("x"), Finished(usage=Usage(5, 7)))
    site = await serve(backend)
    await site.chat(stream=True)
    assert site.services.ledger.totals("npu").completion_tokens == 7
