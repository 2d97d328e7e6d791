"""GET /status/events: the status at once and after each change; with ?requests, each request's way too."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.access import ACCESS, check_host, check_token
from ollama_proxyd.edges.http_api.context import SERVICES
from ollama_proxyd.edges.http_api.errors import render_own
from ollama_proxyd.edges.http_api.status_picture import REFUSED, status_picture
from ollama_proxyd.edges.http_api.streaming import STARTED, Started, Stream
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Topic
from ollama_proxyd.services.ledger import RequestRouted
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


class News:
    """Whether something may have changed since it was told last, and whether that can wait."""

    def __init__(self) -> None:
        self._any = asyncio.Event()
        self._urgent = asyncio.Event()
        self.routed: deque[RequestRouted] = deque(maxlen=MOST_ROUTED)

    def note(self, *, urgent: bool) -> None:
        """Something may have changed."""
        self._any.set()
        if urgent:
            self._urgent.set()

    def forget(self) -> None:
        """All is about to be told."""
        self._any.clear()
        self._urgent.clear()

    async def wait(self, at_most_s: float) -> bool:
        """Wait for the next time to tell; False where nothing has happened by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(MEASURED_EVERY_S):
                await self._urgent.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._any.wait()
        return self._any.is_set()

    def note_routed(self, routed: RequestRouted) -> None:
        """Keep a request's way until it is told; of many at once the latest."""
        self.routed.append(routed)

    async def follow(self, services: Services) -> None:
        """Note every change from now on; never returns."""
        topics: tuple[Topic[Any], ...] = (services.ledger.routed, services.ledger.outcomes)
        forget = [topic.listen(self._note_request) for topic in topics]
        forget.append(services.ledger.routed.listen(self.note_routed))
        try:
            await asyncio.gather(
                self.heed(services.fleet.views.changes(), urgent=False),
                self.heed(services.system.changes(), urgent=False),
                self.heed(services.governor.setting.changes(), urgent=True),
                self.heed(services.governor.holds.changes(), urgent=True),
            )
        finally:
            for each in forget:
                each()

    def _note_request(self, _: object) -> None:
        self.note(urgent=False)

    async def heed(self, changes: AsyncGenerator[object, None], *, urgent: bool) -> None:
        """Note each new value of a cell, and that there is one."""
        async for _ in changes:
            self.note(urgent=urgent)


class EventStreams:
    """The open event streams, until the server stops."""

    def __init__(self) -> None:
        self._seats: set[News] = set()
        self.is_closed = False

    @contextmanager
    def seat(self) -> Iterator[News]:
        """One more listener; raises ProxyError when there is no room."""
        if len(self._seats) >= MOST_LISTENERS or self.is_closed:
            why = "the server stops" if self.is_closed else f"too many event streams (limit {MOST_LISTENERS})"
            raise ProxyError(ErrorKind.UNAVAILABLE, why)
        news = News()
        self._seats.add(news)
        try:
            yield news
        finally:
            self._seats.discard(news)

    def close(self) -> None:
        """Have every stream end."""
        self.is_closed = True
        for news in self._seats:
            news.note(urgent=True)


EVENT_STREAMS: web.AppKey[EventStreams] = web.AppKey("listeners", EventStreams)


def _error_event(error: ProxyError) -> bytes:
    """An error as the last event of a stream."""
    return b"event: error\ndata: " + render_own(error)[1] + b"\n\n"


async def events(request: web.Request) -> web.StreamResponse:
    """The status as a stream that ends with the server."""
    listeners = request.app[EVENT_STREAMS]
    with listeners.seat() as news:
        response = Stream(headers=HEADERS)
        await response.prepare(request)
        request[STARTED] = Started(response, _error_event)
        async with Tasks("status") as tasks:
            tasks.start("news", news.follow(request.app[SERVICES]))
            tasks.start("access", news.heed(request.app[ACCESS].changes(), urgent=True))
            await _tell(request, response, news)
        await response.write_eof()
    return response


async def _tell(request: web.Request, response: Stream, news: News) -> None:
    """Tell what is new until the server stops or whoever listens may do so no more."""
    listeners, loop = request.app[EVENT_STREAMS], asyncio.get_running_loop()
    told, told_s, is_news = b"", loop.time(), True
    while not listeners.is_closed:
        news.forget()
        check_host(request)
        check_token(request)
        now = _event(status_picture(request.app[SERVICES]))
        ways = b"".join(map(_way, news.routed)) if "requests" in request.query else b""
        news.routed.clear()
        if ways or now != told or not is_news or loop.time() - told_s >= ALIVE_EVERY_S:
            await _write(request, response, ways + (b"" if now == told else now) or NOTHING_NEW)
            told, told_s = now, loop.time()
        is_news = await news.wait(told_s + ALIVE_EVERY_S - loop.time())


async def _write(request: web.Request, response: Stream, piece: bytes) -> None:
    """Write, or end the connection of a listener that takes nothing: closing it would wait for that as well."""
    try:
        async with asyncio.timeout(WRITE_S):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(f"the listener has taken nothing for {WRITE_S:g} s") from None


def _event(picture: Json) -> bytes:
    return b"data: " + msgspec.json.encode(picture) + b"\n\n"


def _way(routed: RequestRouted) -> bytes:
    """Where a request went."""
    reason = routed.decision.reason if routed.decision else REFUSED
    way: dict[str, Json] = {"unix_s": routed.unix_s, "request_id": routed.request_id, "backend": routed.backend_id}
    way |= reason_fields(reason)
    return b"event: request\ndata: " + msgspec.json.encode(way) + b"\n\n"
