"""GET /v1/stream/ws: many requests on one WebSocket, told apart by their ids."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import cast

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished
from ollama_proxyd.core.fields import LONGEST_TEXT
from ollama_proxyd.core.requests import Hints, Json
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, SETTINGS, services_of
from ollama_proxyd.edges.http_api.frontends import entered, parsing
from ollama_proxyd.edges.http_api.hints import is_id, new_id, read_hints
from ollama_proxyd.edges.http_api.openai import DIALECT
from ollama_proxyd.edges.http_api.programs import PROGRAMS
from ollama_proxyd.edges.http_api.ws_messages import (
    Asked,
    error_fields,
    id_of,
    last_fields,
    read_asked,
    read_message,
    whole_fields,
)
from ollama_proxyd.services.large import off_loop

log = logging.getLogger(__name__)

MOST_MESSAGE_BYTES = 16 * 1024 * 1024
MOST_AT_ONCE = 64
_PING_S = 20.0
"""How often a client must show that it still reads."""
_DATA = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer the requests of one client until it leaves."""
    asker = await request.app[PROGRAMS].of(request, request.app[SETTINGS].value)
    hints = read_hints(request.headers, request[REQUEST_ID], asker, request.get(FRONTEND))
    limit = min(MOST_MESSAGE_BYTES, request.app[SETTINGS].value.max_body_bytes)
    socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=limit, compress=False)
    if not socket.can_prepare(request):
        advice = "this is a WebSocket: connect with Upgrade: websocket, or use POST /v1/chat/completions"
        raise ProxyError(ErrorKind.INVALID_REQUEST, advice, code="upgrade_required")
    await socket.prepare(request)
    session = _Session(request, socket, hints)
    try:
        while (message := await socket.receive()).type in _DATA:
            await session.take(message)
    finally:
        await session.end()
    return socket


class _Session:
    """One connection, and what is under way on it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, hints: Hints) -> None:
        self._request = request
        self._socket = socket
        self._hints = hints
        self._services = services_of(request)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._sizes: dict[str, int] = {}

    async def take(self, message: WSMessage) -> None:
        """Begin what a message asks for; what is wrong with it is told, and the connection goes on."""
        begun_s, request_id = time.monotonic(), None
        data = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        try:
            told = await off_loop(len(data), lambda: read_message(data))
            if await self._is_command(told):
                return
            fallback = new_id()
            request_id = id_of(told, fallback)
            self._check_room(request_id, len(data))
            if self._hints.frontend is not None:
                self._services.frontends.admit(self._hints.frontend.name)
            parse = partial(parsing, self._request, DIALECT, parse_chat)
            name = f"{self._hints.request_id}.{request_id}"
            hints = replace(self._hints, request_id=name if is_id(name) else fallback)
            asked = await off_loop(len(data), lambda: read_asked(told, request_id or fallback, hints, parse))
            asked = asked._replace(request=entered(self._request, asked.request))
        except ProxyError as error:
            if request_id not in self._under_way:
                self._sizes.pop(request_id or "", None)
            await self._send(request_id, done=True, **error_fields(error))
            return
        task = asyncio.create_task(self._answer(asked, begun_s), name=f"websocket request {asked.request_id}")
        self._under_way[asked.request_id] = task
        task.add_done_callback(lambda _: self._forget(asked.request_id))

    def _forget(self, request_id: str) -> None:
        self._under_way.pop(request_id, None)
        self._sizes.pop(request_id, None)

    def _check_room(self, request_id: str, size_bytes: int) -> None:
        """Raise ProxyError where a request cannot begin beside those under way."""
        if request_id in self._under_way:
            raise ProxyError(ErrorKind.INVALID_REQUEST, "this request_id is under way already", param="request_id")
        if len(self._under_way) >= MOST_AT_ONCE:
            message = f"{MOST_AT_ONCE} requests are under way on this connection, the most that it takes; try again"
            raise ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=1.0)
        self._services.gateway.check_capacity()
        bodies, most = self._request.app[BODIES], self._request.app[SETTINGS].value.max_bodies_bytes
        bodies.hold(self._request, size_bytes + sum(self._sizes.values()), most)
        self._sizes[request_id] = size_bytes

    async def _is_command(self, told: dict[str, Json]) -> bool:
        """Whether a message asks for no answer of a model; if so it is done."""
        if "ping" in told:
            if len(msgspec.json.encode(told["ping"])) > LONGEST_TEXT:
                raise ProxyError(ErrorKind.INVALID_REQUEST, f"ping has more than {LONGEST_TEXT} bytes", param="ping")
            await self._write({"pong": told["ping"]})
            return True
        if "cancel" not in told:
            return False
        task = self._under_way.get(told["cancel"]) if isinstance(told["cancel"], str) else None
        if task is None:
            message = "nothing is under way under this id"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="cancel")
        task.cancel()
        return True

    async def _answer(self, asked: Asked, begun_s: float) -> None:
        try:
            async with aclosing(self._services.answers.answer(asked.request)) as answer:
                first = await anext(answer)
                if not isinstance(first, Routed):
                    raise TypeError(f"the gateway answered before it decided: {first!r}")
                await self._pass_on(asked, first, cast("AsyncGenerator[Event, None]", answer), begun_s)
        except ProxyError as error:
            await self._send(asked.request_id, done=True, **error_fields(error))
        except asyncio.CancelledError:
            if not self._socket.closed:
                await self._send(asked.request_id, done=True, error="cancelled", code="cancelled")
            raise
        except ConnectionError:
            return  # the client has left, and the connection ends
        except Exception:
            log.exception(
                "request %s: a request on the WebSocket failed by a fault of the proxy", self._hints.request_id
            )
            await self._send(asked.request_id, done=True, error="the proxy failed; see its log", code="internal")

    async def _pass_on(self, asked: Asked, first: Routed, events: AsyncGenerator[Event, None], begun_s: float) -> None:
        head = msgspec.json.encode({"request_id": asked.request_id, "done": False})[:-1]
        ttft_ms: float | None = None
        kept: list[Delta] = []
        """What the last message tells: tool calls, and all that was said where nothing is streamed."""
        async for event in events:
            if isinstance(event, Delta):
                is_first, ttft_ms = ttft_ms is None, ttft_ms or round((time.monotonic() - begun_s) * 1000, 3)
                if asked.is_streamed and (event.text or event.thinking):
                    await self._piece(head, event, ttft_ms if is_first else None)
                if event.tool_calls or not asked.is_streamed:
                    kept.append(Delta(tool_calls=event.tool_calls) if asked.is_streamed else event)
            elif isinstance(event, Finished):
                told = whole_fields(joined(kept), event) | last_fields(event, time.monotonic() - begun_s, ttft_ms)
                backend = {"backend": first.backend_id, "backend_id": first.backend_id}
                if first.ignored_fields:
                    told["ignored_fields"] = list(first.ignored_fields)
                await self._send(asked.request_id, done=True, **told, **backend, reason=str(first.decision.reason))

    async def _piece(self, head: bytes, delta: Delta, ttft_ms: float | None) -> None:
        said = b""
        if delta.text:
            said += b',"token":' + msgspec.json.encode(delta.text)
        if delta.thinking:
            said += b',"thinking":' + msgspec.json.encode(delta.thinking)
        if ttft_ms is not None:
            said += b',"ttft_ms":' + msgspec.json.encode(ttft_ms)
        await self._socket.send_frame(head + said + b"}", WSMsgType.TEXT)

    async def _send(self, request_id: str | None, **fields: Json) -> None:
        await self._write({"request_id": request_id, **fields})

    async def _write(self, told: dict[str, Json]) -> None:
        await self._socket.send_frame(msgspec.json.encode(told), WSMsgType.TEXT)

    async def end(self) -> None:
        """End what is under way, and the connection."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ConnectionError):
            await self._socket.close(code=WSCloseCode.GOING_AWAY)


ROUTES = (web.get("/v1/stream/ws", stream),)
