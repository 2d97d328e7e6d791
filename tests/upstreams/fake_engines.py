"""Programmable upstream servers on loopback: one that serves a table of answers, one that plays raw bytes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.plumbing.http import HttpClient, Timeouts
from ollama_proxyd.edges.plumbing.http_reply import Limits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Says:
    """One fixed answer; `body` that is no bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        if isinstance(self.body, bytes):
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        return web.Response(
            text=json.dumps(self.body), status=self.status, headers=self.headers, content_type="application/json"
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a fake engine got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class FakeEngine:
    """A server that answers by its table ("GET /v1/models": Says or a handler) and remembers what it was asked."""

    routes: dict[str, Any]
    server_header: str = "fake"
    asked: list[Asked] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away in the middle of an answer."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(Asked(request.method, request.path, dict(request.headers), body))
        what = self.routes.get(f"{request.method} {request.path}", Says({"error": "not found"}, 404))
        try:
            response = what.response() if isinstance(what, Says) else await what(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise
        if not response.prepared:
            response.headers["Server"] = self.server_header
        return response


@asynccontextmanager
async def serving_at(engine: FakeEngine, path: Path) -> AsyncGenerator[FakeEngine, None]:
    """The engine behind a Unix socket."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", engine.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield engine
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(engine: FakeEngine) -> AsyncGenerator[FakeEngine, None]:
    """The engine on a free port of loopback."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", engine.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", engine.port)
    await site.start()
    engine.port = runner.addresses[0][1]
    try:
        yield engine
    finally:
        await runner.cleanup()


def streams(*chunks: bytes, content_type: str, then_hang: bool = False) -> Handler:
    """A handler that sends each chunk by itself; `then_hang` keeps the stream open for ever after."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then_hang:
            await asyncio.Event().wait()
        await response.write_eof()
        return response

    return handle


@dataclass(slots=True)
class RawServer:
    """A server that gives each connection to a script of raw bytes."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next request of a connection, with its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        whole = head + await reader.readexactly(length)
        self.requests.append(whole)
        return whole


Script = Callable[[RawServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def playing(script: Script) -> AsyncGenerator[RawServer, None]:
    """A raw server on a free port; a connection ends when its script ends."""
    raw = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(raw, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionResetError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def a_client(timeouts: Timeouts | None = None, limits: Limits | None = None) -> AsyncGenerator[HttpClient, None]:
    """An HTTP client that is closed at the end."""
    client = HttpClient(timeouts, limits)
    try:
        yield client
    finally:
        await client.close()


def spec_of(url: str, kind: Api, flavor: str = "generic", backend_id: str = "it") -> BackendSpec:
    """A backend at an address."""
    return BackendSpec(id=backend_id, name=backend_id, api=kind, endpoint=url, flavor=flavor)
