"""An answer on its way to a client's connection: its order, and what is kept to go on with it."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Resumed
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.http_api import streaming
from ollama_proxyd.edges.http_api.streaming import _Writing
from ollama_proxyd.edges.http_api.written import Stream


async def test_trailers_of_an_answer_without_a_piece_follow_its_head() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = Stream(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.end({"X-Energy-Joules": "1.00"})
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    told = await reader.read()
    writer.close()
    await runner.cleanup()
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert told.endswith(b"\r\n\r\n0\r\nX-Energy-Joules: 1.00\r\n\r\n")


class Sink:
    """Takes everything."""

    def feed(self, _piece: bytes) -> bool:
        return True


class Marked(OpenAI):
    """Cannot go on without any of its frames."""

    landmark = b"data:"


def test_an_answer_that_is_too_long_to_be_kept_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MOST_FIRST_BYTES", 100)
    writing = _Writing(cast("Any", Sink()), Marked(), lambda: cast("Any", None))
    for _ in range(1000):
        writing.tell(b"data: a frame\n\n")
        writing.tell(Delta(frame=b"data: a frame\n\n"))
        assert sum(map(len, writing._first)) <= 100
    with pytest.raises(ProxyError, match="too long to go on elsewhere"):
        writing.tell(Resumed())
