"""A client that leaves frees its backend, and one that reads slowly holds it back: over real sockets on both sides."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol

from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.pass_through import PassThrough
from ollama_proxyd.edges.backends.stream import Stream
from ollama_proxyd.edges.http_api import written
from ollama_proxyd.edges.http_api.streaming import Started
from ollama_proxyd.edges.http_api.written import Answer
from ollama_proxyd.edges.plumbing.upstream.connection import Connection
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.delivery import Delivery
from tests.edges.http_api.conftest import CHAT, Serve, Site
from tests.fakes import settle
from tests.upstreams.engines import llamacpp, ollama
from tests.upstreams.fake_engines import FakeEngine, a_client, serving, spec_of, streams
from tests.upstreams.frames import OPENAI_STREAM

PATHS = ["/v1/chat/completions", "/api/chat"]
WHOLE = b"""{"id":"c","object":"chat.completion","created":7,"model":"tiny","choices":[{"index":0,
"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,
"total_tokens":2}}"""
MOST_BYTES = 24 * 1024 * 1024
"""More than the buffers of four sockets, and far less than what the engine would write."""


def ndjson(text: str) -> bytes:
    said = {"role": "assistant", "content": text}
    return (
        json.dumps({"model": "tiny", "created_at": "2027-01-15T12:00:00Z", "message": said, "done": False}).encode()
        + b"\n"
    )


def sse(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "tiny", "choices": [choice]}
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


ENGINES = {
    "ollama": (ollama, Api.OLLAMA, "POST /api/chat", "application/x-ndjson", ndjson),
    "llamacpp": (llamacpp, Api.OPENAI, "POST /v1/chat/completions", "text/event-stream", sse),
}


class Writer:
    """What an engine writes: so many frames, and then it is silent until its client leaves."""

    def __init__(self, engine: str, frames: float, size: int = 1) -> None:
        self._type, frame = ENGINES[engine][3:]
        self._frame, self._frames = frame("x" * size), frames
        self.asked = asyncio.Event()
        self.written = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.set()
        response = web.StreamResponse(headers={"Content-Type": self._type})
        if self._frames:
            await response.prepare(request)
        while self.written < self._frames * len(self._frame):
            await response.write(self._frame)
            self.written += len(self._frame)
        await asyncio.Event().wait()
        return response


@asynccontextmanager
async def site_of(serve: Serve, writer: Any, name: str = "llamacpp") -> AsyncIterator[tuple[Site, FakeEngine, str]]:
    """A server in front of the real backend of an engine, and the name of a model there."""
    make, api, route, *_ = ENGINES[name]
    engine = make()
    engine.routes[route] = writer
    async with serving(engine), a_client() as client:
        backend: Any = EngineBackend(spec_of(engine.url, api), client)
        site = await serve(backend)
        yield site, engine, site.services.fleet.view("it").models[0].name


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("frames", [0, 3])
async def test_a_client_that_leaves_frees_the_engine_and_the_slot(
    serve: Serve, engine_name: str, path: str, stream: bool, frames: int
) -> None:
    writer = Writer(engine_name, frames)
    async with site_of(serve, writer, engine_name) as (site, engine, model):
        body = {**CHAT, "model": model, "stream": stream}
        asked = asyncio.create_task(site.client.post(path, json=body))
        async with asyncio.timeout(20):
            await writer.asked.wait()
            if frames and stream:
                await (await asked).content.readline()
                (await asked).close()
            asked.cancel()
            await engine.left.wait()
            await site.services.fleet.views.until(lambda views: not views[0].in_flight)
        await settle()
        assert site.services.ledger.recent()[-1].cancelled


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing is freed but what nobody holds."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


ENDS: dict[str, Callable[[], Any]] = {
    "whole": partial(streams, WHOLE, content_type="application/json"),
    "streamed": partial(streams, OPENAI_STREAM, content_type="text/event-stream"),
    "left": partial(Writer, "llamacpp", 3),
}
"""Makes who writes the answer."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("end", ENDS)
async def test_an_answer_that_is_over_leaves_nothing_for_the_collector(serve: Serve, path: str, end: str) -> None:
    stream, leaves = end != "whole", end == "left"
    kinds = {Attempt, Delivery, PassThrough, Started, Stream}
    kinds |= {Answer, Connection} if leaves else set()  # else kept for what is next
    async with site_of(serve, ENDS[end]()) as (site, _, model):
        with without_collector():
            before = {id(each) for each in gc.get_objects() if type(each) in kinds}
            async with asyncio.timeout(20):
                async with site.client.post(path, json={**CHAT, "model": model, "stream": stream}) as reply:
                    await (reply.content.readline() if leaves else reply.read())
                    reply.close()
                await site.services.fleet.views.until(lambda views: not views[0].in_flight)
            await settle()
            assert not [each for each in gc.get_objects() if type(each) in kinds and id(each) not in before]


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_reads_nothing_for_long_frees_the_engine_and_the_slot(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(written, "MOST_SILENT_S", 0.3)
    writer = Writer("llamacpp", 10_000, size=32 * 1024)
    async with site_of(serve, writer) as (site, engine, model):
        async with site.client.post(path, json={**CHAT, "model": model, "stream": True}) as reply:
            await reply.content.readexactly(10)
            async with asyncio.timeout(20):
                await engine.left.wait()
                await site.services.fleet.views.until(lambda views: not views[0].in_flight)
        await settle()
        assert site.services.ledger.recent()[-1].cancelled


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_reads_nothing_makes_the_engine_wait(serve: Serve, engine_name: str, path: str) -> None:
    writer = Writer(engine_name, 10_000, size=32 * 1024)
    async with site_of(serve, writer, engine_name) as (site, engine, model):
        body = {**CHAT, "model": model, "stream": True}
        async with site.client.post(path, json=body) as reply:
            await reply.content.readexactly(10)
            seen: list[int] = []
            while len(seen) < 3 or len({*seen[-3:]}) > 1:
                seen.append(writer.written)
                await asyncio.sleep(0.05)
            assert writer.written < MOST_BYTES
            reply.close()
        async with asyncio.timeout(20):
            await engine.left.wait()


class Pipe(asyncio.Transport):
    """A transport whose client takes some of what waits, now and then, or nothing."""

    def __init__(self, *waiting: int) -> None:
        super().__init__()
        self._waiting = list(waiting)
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self._waiting.pop(0) if len(self._waiting) > 1 else self._waiting[0]

    def abort(self) -> None:
        self.is_aborted = True


def paused(pipe: Pipe) -> BaseProtocol:
    protocol = BaseProtocol(asyncio.get_running_loop())
    protocol.transport = pipe
    protocol.pause_writing()
    return protocol


async def test_one_that_gives_up_leaves_others_waiting_for_the_same_client() -> None:
    protocol = paused(Pipe(9))
    one, other = (asyncio.create_task(written.until_taken(protocol)) for _ in range(2))
    await settle()
    one.cancel()
    await settle()
    third = asyncio.create_task(written.until_taken(protocol))
    await settle()
    assert not other.done()
    protocol.resume_writing()
    await asyncio.gather(other, third)


async def test_a_client_that_takes_little_keeps_its_answer_and_one_that_takes_nothing_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(written, "MOST_SILENT_S", 0.01)
    pipe = Pipe(9, 8, 8, 7, 7, 7)
    with pytest.raises(ConnectionError):
        await written.until_taken(paused(pipe))
    assert pipe._waiting == [7]
    assert pipe.is_aborted
