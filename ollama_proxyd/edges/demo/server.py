"""Ollama's API in front of one simulated device."""

import time
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.base import Parse
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.models import describe, parse_show, render_ps, render_tags, render_version
from ollama_proxyd.edges.demo.engine import SimulatedEngine

_DIALECT = Ollama()
_MAX_BODY_BYTES = 64 * 1024 * 1024


def make_app(engine: SimulatedEngine) -> web.Application:
    """The device's API."""
    server = _Server(engine)
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.add_routes(
        [
            web.get("/", server.root),
            web.get("/api/version", server.version),
            web.get("/api/tags", server.tags),
            web.get("/api/ps", server.ps),
            web.post("/api/show", server.show),
            *(web.post(path, server.answering(parse)) for path, parse in _DIALECT.calls.items()),
        ]
    )
    return app


class _Server:
    """The routes."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine

    async def root(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def version(self, _request: web.Request) -> web.Response:
        return _json(render_version(f"{__version__}-demo"))

    async def tags(self, _request: web.Request) -> web.Response:
        device = self._engine.device
        return _json(render_tags((model, (device.id,)) for model in device.models))

    async def ps(self, _request: web.Request) -> web.Response:
        device_id = self._engine.device.id
        return _json(render_ps((each, self._engine.model(each.name), (device_id,)) for each in self._engine.loaded()))

    async def show(self, http: web.Request) -> web.Response:
        try:
            name, _ = parse_show(await http.read())
            model = self._engine.model(name)
        except ProxyError as error:
            return _refused(error)
        engine_name = f"the simulated {self._engine.device.label} of ollama-proxyd's demo fleet"
        return _json(msgspec.json.encode(describe(model, engine_name, f"{http.scheme}://{http.host}")))

    def answering(self, parse: Parse) -> Handler:
        """The handler of a call whose answer is computed, or would be."""

        async def handle(http: web.Request) -> web.StreamResponse:
            started_ns = time.perf_counter_ns()
            try:
                request = parse(await http.read(), Hints())
                request.content()  # what cannot be read is refused before a stream begins
                self._engine.model(request.model)
            except ProxyError as error:
                return _refused(error)
            encoder = LineEncoder(request, _created_at, lambda: time.perf_counter_ns() - started_ns)
            if request.stream:
                return await self._stream(http, request, encoder)
            async with aclosing(self._engine.answer(request)) as events:
                return _json(encoder.whole([event async for event in events]))

        return handle

    async def _stream(self, http: web.Request, request: Request, encoder: LineEncoder) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _DIALECT.stream_type})
        await response.prepare(http)
        async with aclosing(self._engine.answer(request)) as events:
            async for event in events:
                await response.write(encoder.encode(event))
        await response.write_eof()
        return response


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": _DIALECT.whole_type})


def _refused(error: ProxyError) -> web.Response:
    status, body = _DIALECT.render_error(error)
    return web.Response(body=body, status=status, headers={"Content-Type": _DIALECT.whole_type})


def _created_at() -> str:
    now_ns = time.time_ns()
    seconds = datetime.fromtimestamp(now_ns // 10**9, UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{now_ns % 10**9:09d}Z"
