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
from ollama_proxyd.core.events import Delta, Event, Finished, Flow
from ollama_proxyd.core.fields import LONGEST_TEXT
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.requests import Hints, Json
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.edges.http_api.access import RULES
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.body import check_size
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, SETTINGS, services_of
from ollama_proxyd.edges.http_api.frontends import entered, parsing
from ollama_proxyd.edges.http_api.hints import is_id, new_id, read_hints
from ollama_proxyd.edges.http_api.middleware import let_in
from ollama_proxyd.edges.http_api.openai import DIALECT
from ollama_proxyd.edges.http_api.programs import PROGRAMS
from ollama_proxyd.edges.http_api.written import until_taken
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


class Socket(web.WebSocketResponse):
    """A WebSocket that a message can be sent on at once."""

    def feed(self, message: bytes) -> bool:
        """Send a message at once; whether the client takes more now. Raises ConnectionError where it has left."""
        writer = self._writer
        if writer is None or writer._closing:
            raise ConnectionResetError("the connection has ended")
        writer._write_websocket_frame(message, WSMsgType.TEXT, 0)
        return not writer.protocol.writing_paused

    async def drain(self) -> None:
        """Wait until the client takes more."""
        if self._writer is not None:
            await until_taken(self._writer.protocol)


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer the requests of one client until it leaves."""
    asker = await request.app[PROGRAMS].of(request, request.app[SETTINGS].value)
    hints = read_hints(request.headers, request[REQUEST_ID], asker, request.get(FRONTEND))
    limit = min(MOST_MESSAGE_BYTES, request.app[SETTINGS].value.max_body_bytes)
    socket = Socket(heartbeat=_PING_S, max_msg_size=limit, compress=False)
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

    def __init__(self, request: web.Request, socket: Socket, hints: Hints) -> None:
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
            frontend = self._enter()
            check_size(self._request, len(data))
            if frontend is not None:
                self._services.frontends.admit(frontend.name)
            parse = partial(parsing, self._request, DIALECT, parse_chat)
            name = f"{self._hints.request_id}.{request_id}"
            hints = replace(self._hints, request_id=name if is_id(name) else fallback, frontend=frontend)
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

    def _enter(self) -> Frontend | None:
        """The front end that the address leads to now; raises ProxyError where this client may no longer ask there."""
        for noted in (FRONTEND, RULES):
            self._request.pop(noted, None)
        let_in(self._request)
        return self._request.get(FRONTEND)

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
        await self._cancel(told["cancel"])
        return True

    async def _cancel(self, request_id: Json) -> None:
        """End an answer, which may not even have begun, and tell that it has."""
        known = request_id if isinstance(request_id, str) and len(request_id) <= LONGEST_TEXT else None
        task = self._under_way.get(known or "")
        if task is None or not task.cancel():
            error = ProxyError(ErrorKind.INVALID_REQUEST, "nothing is under way under this id", param="cancel")
            await self._send(known, done=True, **error_fields(error))
            return
        await asyncio.wait([task])
        if task.cancelled():
            await self._send(known, done=True, error="cancelled", code="cancelled")

    async def _answer(self, asked: Asked, begun_s: float) -> None:
        with suppress(ConnectionError):  # the client has left, perhaps before it heard of a failure
            try:
                async with aclosing(self._services.answers.answer(asked.request, flows=True)) as answer:
                    first = await anext(answer)
                    if not isinstance(first, Routed):
                        raise TypeError(f"the gateway answered before it decided: {first!r}")
                    await self._pass_on(asked, first, cast("AsyncGenerator[Event, None]", answer), begun_s)
            except ProxyError as error:
                await self._send(asked.request_id, done=True, **error_fields(error))
            except ConnectionError:
                raise
            except Exception:
                log.exception(
                    "request %s: a request on the WebSocket failed by a fault of the proxy", self._hints.request_id
                )
                await self._send(asked.request_id, done=True, error="the proxy failed; see its log", code="internal")

    async def _pass_on(self, asked: Asked, first: Routed, events: AsyncGenerator[Event, None], begun_s: float) -> None:
        pieces = _Pieces(self._socket, asked, begun_s)
        async for event in events:
            if isinstance(event, Flow):
                await event.pour(pieces.tell)
            elif isinstance(event, Finished):
                told = whole_fields(joined(pieces.kept), event)
                told |= last_fields(event, time.monotonic() - begun_s, pieces.ttft_ms)
                backend = {"backend": first.backend_id, "backend_id": first.backend_id}
                if first.ignored_fields:
                    told["ignored_fields"] = list(first.ignored_fields)
                await self._send(asked.request_id, done=True, **told, **backend, reason=str(first.decision.reason))
            else:
                pieces.tell(event)
            await self._socket.drain()

    async def _send(self, request_id: str | None, **fields: Json) -> None:
        await self._write({"request_id": request_id, **fields})

    async def _write(self, told: dict[str, Json]) -> None:
        self._socket.feed(msgspec.json.encode(told))
        await self._socket.drain()

    async def end(self) -> None:
        """End what is under way, and the connection."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ConnectionError):
            await self._socket.close(code=WSCloseCode.GOING_AWAY)


class _Pieces:
    """The pieces of one answer on their way to the client."""

    __slots__ = ("_begun_s", "_head", "_is_streamed", "_of_first", "_socket", "kept", "ttft_ms")

    def __init__(self, socket: Socket, asked: Asked, begun_s: float) -> None:
        self._socket = socket
        self._begun_s = begun_s
        self._is_streamed = asked.is_streamed
        self._head = msgspec.json.encode({"request_id": asked.request_id, "done": False})[:-1]
        self._of_first = b""
        """What the first piece alone tells."""
        self.ttft_ms: float | None = None
        self.kept: list[Delta] = []
        """What the last message tells: tool calls, and all that was said where nothing is streamed."""

    def tell(self, event: Event | bytes) -> bool:
        """Send what an event says; whether the client takes more now."""
        if not isinstance(event, Delta):
            return True
        if self.ttft_ms is None:
            self.ttft_ms = round((time.monotonic() - self._begun_s) * 1000, 3)
            self._of_first = b',"ttft_ms":' + msgspec.json.encode(self.ttft_ms)
        if event.tool_calls or not self._is_streamed:
            self.kept.append(Delta(tool_calls=event.tool_calls) if self._is_streamed else event)
        if not self._is_streamed or not (event.text or event.thinking):
            return True
        text = b',"token":' + msgspec.json.encode(event.text) if event.text else b""
        thinking = b',"thinking":' + msgspec.json.encode(event.thinking) if event.thinking else b""
        of_first, self._of_first = self._of_first, b""
        return self._socket.feed(self._head + text + thinking + of_first + b"}")


ROUTES = (web.get("/v1/stream/ws", stream),)
