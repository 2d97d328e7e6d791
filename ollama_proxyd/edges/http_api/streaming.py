"""The hot path: a routed answer goes to the client event by event, or as one piece."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache, partial
from typing import NamedTuple, cast

from aiohttp import HttpVersion11, hdrs, web

from ollama_proxyd.core.energy import Energy
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, Flow, Resumed
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.values import replace
from ollama_proxyd.dialects.base import ClientDialect, Encoder, Parse, Stamps
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.access import caller_of
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.body import read_json
from ollama_proxyd.edges.http_api.catalog import named
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, SERVICES, SETTINGS, services_of
from ollama_proxyd.edges.http_api.frontends import entered, parsing
from ollama_proxyd.edges.http_api.hints import new_id, read_hints, with_log_wish
from ollama_proxyd.edges.http_api.programs import PROGRAMS
from ollama_proxyd.edges.http_api.written import Answer, Stream
from ollama_proxyd.services.answers import Answers
from ollama_proxyd.services.large import off_loop


def _rfc3339() -> str:
    """The time now, UTC, to the nanosecond."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{_to_the_second(seconds)}.{nanoseconds:09d}Z"


@lru_cache(maxsize=1)
def _to_the_second(unix_s: int) -> str:
    """The text that all frames of one second share."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))


MOST_FIRST_BYTES = 32 * 1024 * 1024
"""How much of an engine's own frames is kept for an encoder that may have to go on with them."""
_EVENTS, _EVENT_ENDS = "text/event-stream", (b"\n\n", b"\r\n\r\n")
NUMBER_BYTES = 20
"""What a number of a vector takes as text."""
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
STAMPS = Stamps(new_id, lambda: int(time.time()), _rfc3339, time.monotonic_ns)


class Started(NamedTuple):
    """An answer whose headers are gone; `error` writes what goes wrong now as its last frame, where it has frames."""

    response: Stream
    error: Callable[[ProxyError], bytes] | None


STARTED: web.RequestKey[Started] = web.RequestKey("started", Started)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ask = Callable[[web.Request, Hints], Awaitable[Request]]
"""Reads what a client asks for; raises ProxyError."""


def answering(dialect: ClientDialect, parse: Parse) -> Handler:
    """A handler for one call of a dialect whose body is JSON."""

    async def ask(request: web.Request, hints: Hints) -> Request:
        read = partial(named, services_of(request), parse)
        if hints.frontend is not None:
            return await read_json(request, parsing(request, dialect, read, hints))
        return await read_json(request, partial(read, hints=hints))

    return answering_what(ask, dialect)


def answering_what(ask: Ask, dialect: ClientDialect) -> Handler:
    """A handler for one call of a dialect."""

    async def answer(request: web.Request) -> web.StreamResponse:
        begun_ns = time.monotonic_ns()
        app = request.app
        services = app[SERVICES]
        asker = await app[PROGRAMS].of(request, app[SETTINGS].value)
        hints = read_hints(request.headers, request[REQUEST_ID], asker, request.get(FRONTEND))
        if hints.frontend is not None:
            services.frontends.admit(hints.frontend.name)
        hints = with_log_wish(hints, request.query, request.headers)
        with app[BODIES] as bodies:
            services.gateway.check_capacity(bodies.arriving)
            asked = await ask(request, hints)
        if hints.frontend is not None:
            asked = entered(request, asked)
        if asked.has_image_urls:
            is_same_api = asked.api is Api.OPENAI
            asked = replace(asked, may_fetch_here=is_same_api and caller_of(request).is_program_here)
        try:
            return await deliver(request, services.answers, asked, dialect, begun_ns)
        except ProxyError as error:
            reworded = dialect.reworded(error, asked)
            if reworded is error:
                raise
            raise reworded from error

    return answer


async def deliver(
    request: web.Request, answers: Answers, asked: Request, dialect: ClientDialect, begun_ns: int
) -> web.StreamResponse:
    """Have a request answered: an engine's own frames as they are, up to their own end, everything else encoded.

    Raises ProxyError, which becomes a status while nothing has been sent.
    """
    async with aclosing(answers.answer(asked, flows=asked.stream)) as answer:
        headers, content_type = _headers(await anext(answer))
        events = cast("AsyncGenerator[Event, None]", answer)
        make_encoder = partial(dialect.encoder, asked, STAMPS, begun_ns)
        if not asked.stream:
            headers["Content-Type"] = content_type or dialect.whole_type
            told = [event async for event in events]
            headers |= routing_headers.cost(_energy(told[-1]))
            return Answer(headers, await _whole(told, dialect, make_encoder, len(asked.body)))
        takes_trailers = _takes_trailers(request)
        if takes_trailers:
            headers[hdrs.TRAILER] = ", ".join(routing_headers.COSTS)
        headers |= {**_STREAM_HEADERS, "Content-Type": content_type or dialect.stream_type}
        response = Answer(headers)
        await response.prepare(request)
        del headers  # as the answer has done
        request.protocol.keep_alive(True)  # lets go of the timer of a connection that waits for requests
        has_words = content_type is None or content_type.startswith(dialect.stream_type)
        writing = _Writing(response, dialect, make_encoder)
        request[STARTED] = Started(response, writing.broken if has_words else None)
        event: Event | None = None
        async for event in events:
            if isinstance(event, Flow):
                await event.pour(writing.tell)
            else:
                writing.tell(event)
            await response.drain()
        writing.end()
        await response.end(routing_headers.cost(_energy(event)) if takes_trailers else {})
        return response


class _Writing:
    """The events of a streamed answer on their way to its client: an engine's own frames, else encoded."""

    __slots__ = ("_dialect", "_encoder", "_first", "_first_bytes", "_last", "_make_encoder", "_mark", "_response")

    def __init__(self, response: Stream, dialect: ClientDialect, make_encoder: Callable[[], Encoder]) -> None:
        self._response = response
        self._dialect = dialect
        self._make_encoder = make_encoder
        self._mark = dialect.landmark
        self._first: list[bytes] = []
        """The frames of an engine's own by which an encoder goes on with its stream."""
        self._first_bytes = 0
        self._last = b""
        self._encoder: Encoder | None = None

    def tell(self, event: Event | bytes) -> bool:
        """Send what an event says; whether the client takes more now."""
        piece = event if type(event) is bytes else event.frame if type(event) is Delta else None
        if piece is None:
            piece = self._encoded(cast("Event", event))
        else:
            if not self._first or (self._mark and self._mark in piece):
                self._first.append(piece)
                self._first_bytes += len(piece)
                if self._first_bytes > MOST_FIRST_BYTES:
                    self._first = [b""]
            self._last = piece
        return self._response.feed(piece) if piece else True

    def _encoded(self, event: Event) -> bytes:
        if isinstance(event, Resumed):
            if self._first_bytes > MOST_FIRST_BYTES:
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the answer broke, and is too long to go on elsewhere")
            self._encoder = self._encoder or _following(self._make_encoder(), b"".join(self._first))
            return b""
        if self._encoder is None and self._first:
            return b""
        self._encoder = self._encoder or self._make_encoder()
        return self._encoder.encode(event)

    def broken(self, error: ProxyError) -> bytes:
        """The error as the last frame; what passed unread may have ended within one, which ends there then."""
        is_within = self._dialect.stream_type == _EVENTS and self._last and not self._last.endswith(_EVENT_ENDS)
        gap = b"\n" if self._last.endswith(b"\n") else b"\n\n"
        return (gap if is_within else b"") + self._dialect.stream_error(error)

    def end(self) -> None:
        """Have the dialect take note of an answer that was an engine's own to its end."""
        if self._last and self._encoder is None:
            self._dialect.ended_with(self._last)


def _takes_trailers(request: web.Request) -> bool:
    """Whether the client has said that it reads trailer fields (RFC 9110, 10.1.4)."""
    return request.version >= HttpVersion11 and "trailers" in request.headers.get(hdrs.TE, "").lower()


def _energy(last: Event | None) -> Energy | None:
    return last.energy if isinstance(last, Finished) else None


def _following(encoder: Encoder, first: bytes) -> Encoder:
    """The encoder, to go on with a stream of an engine's own frames."""
    encoder.follow(first)
    return encoder


def _written_bytes(events: Sequence[Event]) -> int:
    """How long the vectors of an answer are when they are written, about."""
    vectors = [vector for event in events if isinstance(event, Embedded) for vector in event.vectors]
    return NUMBER_BYTES * sum(map(len, vectors))


async def _whole(
    events: Sequence[Event], dialect: ClientDialect, make_encoder: Callable[[], Encoder], asked_bytes: int
) -> bytes:
    """An engine's own bytes where there are any, else the events encoded."""
    if frames := [event.frame for event in events if isinstance(event, Delta) and event.frame is not None]:
        dialect.ended_with(body := b"".join(frames))
        return body
    return await off_loop(max(asked_bytes, _written_bytes(events)), lambda: make_encoder().whole(events))


async def end_broken(started: Started, error: ProxyError) -> web.StreamResponse:
    """Say in the stream itself what went wrong, and end it."""
    if started.error is None:
        await started.response.break_off()
    else:
        await started.response.write_eof(started.error(error))
    return started.response


def _headers(first: Routed | Event) -> tuple[dict[str, str], str | None]:
    if not isinstance(first, Routed):
        raise TypeError(f"the gateway answered before it decided: {first!r}")
    return routing_headers.answered(first), first.content_type
