"""GET /status/events: the status at once and after each change; with ?requests, each request's way too."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from aiohttp import hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.access import ACCESS, PEERS, check_host, check_sender
from ollama_proxyd.edges.http_api.context import SERVICES
from ollama_proxyd.edges.http_api.engines import engines_json
from ollama_proxyd.edges.http_api.errors import render_own
from ollama_proxyd.edges.http_api.features import enabled
from ollama_proxyd.edges.http_api.status_json import status_json
from ollama_proxyd.edges.http_api.streaming import STARTED, Started
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.edges.plumbing.surface_json import surface_json
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.ledger import RequestRouted
from ollama_proxyd.services.status import REFUSED, StatusFollower, snapshot
from ollama_proxyd.services.tasks import Tasks

MOST_LISTENERS = 16
MEASURED_EVERY_S = 1.0
"""Only a change of the mode, of holds or of the configuration is told sooner after what was told before."""
MOST_ROUTED = 256
"""Requests whose way is kept for a listener until it is told."""
ALIVE_EVERY_S = 20.0
"""A stream that has nothing to tell says so, so that either side notices when the other is gone."""
WRITE_S = 30.0
"""A listener that takes nothing for so long is given up."""

NOTHING_NEW = b": nothing new\n\n"
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Listener(StatusFollower):
    """One open stream: what has changed, and the ways of requests that it was not told yet."""

    def __init__(self) -> None:
        super().__init__()
        self.routed: deque[RequestRouted] = deque(maxlen=MOST_ROUTED)
        """Of many at once the latest."""


class EventStreams:
    """The open event streams, until the server stops."""

    def __init__(self) -> None:
        self._seats: dict[Listener, str] = {}
        """Each with its process."""
        self.is_closed = False

    @contextmanager
    def seat(self, process: str) -> Iterator[Listener]:
        """One more listener; raises ProxyError when there is no room.

        A process may have at most as many seats as it leaves free: the first half of all, the next half of the rest.
        """
        free, own = MOST_LISTENERS - len(self._seats), list(self._seats.values()).count(process)
        if self.is_closed:
            raise ProxyError(ErrorKind.UNAVAILABLE, "the server stops")
        if own >= free:
            why = (
                f"too many event streams (limit {MOST_LISTENERS})"
                if not own
                else f"this process has {own} event streams"
            )
            rest = "" if not own else f", and leaves {free} for others; close one first"
            raise ProxyError(ErrorKind.UNAVAILABLE, why + rest)
        news = Listener()
        self._seats[news] = process
        try:
            yield news
        finally:
            del self._seats[news]

    def close(self) -> None:
        """Have every stream end."""
        self.is_closed = True
        for news in self._seats:
            news.note(urgent=True)


EVENT_STREAMS: web.AppKey[EventStreams] = web.AppKey("listeners", EventStreams)


def wants_events(request: web.Request) -> bool:
    """Whether a client asks for events where another answer is the usual one."""
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, ())).lower()
    return "text/event-stream" in {each.partition(";")[0].strip() for each in accepted.split(",")}


def error_event(error: ProxyError) -> bytes:
    """An error as the last event of a stream."""
    return b"event: error\ndata: " + render_own(error)[1] + b"\n\n"


async def events(request: web.Request) -> web.StreamResponse:
    """The status as a stream that ends with the server."""
    listeners = request.app[EVENT_STREAMS]
    process = await request.app[PEERS].process(request.transport)
    with listeners.seat(process) as news:
        response = Stream(headers=HEADERS)
        await response.prepare(request)
        request[STARTED] = Started(response, error_event)
        stop = request.app[SERVICES].ledger.routed.listen(news.routed.append)
        try:
            async with Tasks("status") as tasks:
                tasks.start("news", news.follow(request.app[SERVICES]))
                tasks.start("access", news.watch(request.app[ACCESS].changes(), urgent=True))
                await _tell(request, response, news)
        finally:
            stop()
        await response.write_eof()
    return response


async def _tell(request: web.Request, response: Stream, news: Listener) -> None:
    """Tell what is new until the server stops or the listener may no longer."""
    listeners, loop = request.app[EVENT_STREAMS], asyncio.get_running_loop()
    told, told_s, is_news = b"", loop.time(), True
    while not listeners.is_closed:
        news.clear()
        check_host(request)
        check_sender(request, needs_token=True)
        now = _event(whole(request.app[SERVICES]))
        ways = b"".join(map(_way, news.routed)) if "requests" in request.query else b""
        news.routed.clear()
        if ways or now != told or not is_news or loop.time() - told_s >= ALIVE_EVERY_S:
            await write(request, response, ways + (b"" if now == told else now) or NOTHING_NEW)
            told, told_s = now, loop.time()
        is_news = await news.wait(MEASURED_EVERY_S, told_s + ALIVE_EVERY_S - loop.time())


async def write(request: web.Request, response: Stream, piece: bytes) -> None:
    """Write, or end the connection of a listener that takes nothing: closing it would wait for that as well."""
    try:
        async with asyncio.timeout(WRITE_S):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(f"the listener has taken nothing for {WRITE_S:g} s") from None


def whole(services: Services) -> dict[str, Json]:
    """The status as it is told to those who ask and to those who listen."""
    wanted: list[Json] = sorted(each.value for each in services.features.wishes.value.on)
    own = {**engines_json(services), "features": enabled(services), "wanted_features": wanted}
    return {**status_json(snapshot(services)), **own, "settings": asdict(services.settings.tuning.value)}


def _event(status: Json) -> bytes:
    return b"data: " + surface_json(status) + b"\n\n"


def _way(routed: RequestRouted) -> bytes:
    """Where a request went."""
    reason = routed.decision.reason if routed.decision else REFUSED
    way: dict[str, Json] = {
        "unix_seconds": routed.unix_s,
        "request_id": routed.request_id,
        "backend": routed.backend_id,
    }
    way |= reason_fields(reason)
    return b"event: request\ndata: " + surface_json(way) + b"\n\n"
