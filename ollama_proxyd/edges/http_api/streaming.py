"""The hot path: a routed answer goes to the client event by event, or as one piece."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Event
from ollama_proxyd.core.requests import Request
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.services.gateway import Gateway


class Encoder(Protocol):
    """Writes events in the client's dialect."""

    def encode(self, event: Event) -> bytes:
        """One event of a stream, empty where the dialect has nothing to say about it."""

    def whole(self, events: Sequence[Event]) -> bytes:
        """All events as one answer."""

    def error(self, error: ProxyError) -> bytes:
        """What ends a stream that broke off."""


class Types(NamedTuple):
    """The content types of a dialect's answers."""

    whole: str
    stream: str


class Stream(web.StreamResponse):
    """An answer that is under way; its headers leave together with the first piece of it."""

    _send_headers_immediately = False


class LastWords(Protocol):
    """Says in a stream's own words why it ends."""

    def error(self, error: ProxyError) -> bytes:
        """What ends a stream that broke off."""


class Started(NamedTuple):
    """An answer whose headers are gone: what goes wrong now can only be said in its own words."""

    response: Stream
    encoder: LastWords


STARTED: web.RequestKey[Started] = web.RequestKey("started", Started)


async def deliver(
    request: web.Request, gateway: Gateway, asked: Request, encoder: Encoder, types: Types
) -> web.StreamResponse:
    """Have a request answered; raises ProxyError, which becomes a status while nothing has been sent."""
    async with aclosing(gateway.answer(asked)) as events:
        accepted = await anext(events)
        headers = _headers(accepted)
        if not asked.stream:
            body = encoder.whole([event async for event in events])
            headers["Content-Type"] = types.whole
            return web.Response(body=body, headers=headers)
        headers["Content-Type"] = types.stream
        return await _stream(request, events, encoder, headers)


async def _stream(
    request: web.Request, events: AsyncGenerator[Event, None], encoder: Encoder, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = Stream(headers=headers)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    request[STARTED] = Started(response, encoder)
    encode, write = encoder.encode, response.write
    async for event in events:
        piece = encode(event)
        if piece:
            await write(piece)
    await response.write_eof()
    return response


async def end_broken(started: Started, error: ProxyError) -> web.StreamResponse:
    """Say in the stream itself what went wrong, unless the backend has said so, and end it."""
    await started.response.write_eof(b"" if error.is_told else started.encoder.error(error))
    return started.response


def _headers(accepted: Event) -> dict[str, str]:
    if not isinstance(accepted, Accepted) or accepted.decision is None:
        raise ProxyError(ErrorKind.INTERNAL, "the gateway answered before it decided")
    return routing_headers.routed(accepted.decision, accepted.backend_id, accepted.ignored_fields)
