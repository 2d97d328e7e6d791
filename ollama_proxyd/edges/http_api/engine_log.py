"""GET /engines/log: what the engine of a model wrote last, and with ?follow what it writes from now on."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.access import ACCESS, PEERS, check_host, check_manager, check_sender
from ollama_proxyd.edges.http_api.engines import no_engine, pool_of
from ollama_proxyd.edges.http_api.status_events import EVENT_STREAMS, Listener, write
from ollama_proxyd.edges.http_api.streaming import STARTED, Started
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.services.tasks import Tasks

PACE_S = 0.05
"""Lines that come so close are told together."""
LOOK_S = 60.0
"""So often it is looked whether the reader still may, where nothing is written."""
MOST_LINES = 1000
"""So many wait for a reader, of more the latest are told; and so many can be asked for."""
USUAL_LINES = 60


async def log(request: web.Request) -> web.StreamResponse:
    """The last lines, as text; with ?follow then each further one until the reader leaves."""
    check_manager(request)
    backend_id, model = request.query.get("backend", ""), request.query.get("model", "")
    starter, most = pool_of(request, backend_id).starter, _lines(request.query.get("lines", str(USUAL_LINES)))
    if not (lines := await starter.log(backend_id, model, most)):
        raise no_engine(backend_id, model, "has run")
    if "follow" in request.query:
        return await _follow(request, starter.follow(backend_id, model, most))
    return web.Response(text="\n".join(lines) + "\n")


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_LINES)) and 1 <= int(text) <= MOST_LINES):
        message = f"lines: must be from 1 to {MOST_LINES}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="lines")
    return int(text)


async def _follow(request: web.Request, written: AsyncGenerator[str, None]) -> web.StreamResponse:
    """A stream that ends with the server; it has a seat as event streams have."""
    streams = request.app[EVENT_STREAMS]
    with streams.seat(await request.app[PEERS].process(request.transport)) as news:
        response, lines = Stream(headers={"Content-Type": "text/plain; charset=utf-8"}), deque[str](maxlen=MOST_LINES)
        await response.prepare(request)
        request[STARTED] = Started(response, lambda error: f"{_no_further(error.message)}\n".encode())
        async with Tasks("engines.log") as tasks:
            reading = tasks.start("read", _read(written, lines, news))
            tasks.start("access", news.watch(request.app[ACCESS].changes(), urgent=True))
            while not streams.is_closed:
                news.clear()
                _check(request)
                if lines:
                    piece = "".join(f"{lines.popleft()}\n" for _ in range(len(lines)))
                    await write(request, response, piece.encode())
                if reading.done() and not lines:
                    break
                await news.wait(PACE_S, LOOK_S)
        await response.write_eof()
    return response


def _check(request: web.Request) -> None:
    """Raise ProxyError where the reader may no longer."""
    check_host(request)
    check_sender(request, needs_token=True)
    check_manager(request)


def _no_further(why: object) -> str:
    """The last line of a log that cannot be followed to its end."""
    return f"(no further lines: {why})"


async def _read(written: AsyncGenerator[str, None], lines: deque[str], news: Listener) -> None:
    try:
        async with aclosing(written):
            async for line in written:
                lines.append(line)
                news.note(urgent=False)
    except OSError as error:
        lines.append(_no_further(error.strerror or error))
    finally:
        news.note(urgent=False)


ROUTES = (web.get("/engines/log", log, allow_head=False),)
