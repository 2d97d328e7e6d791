"""GET /engines/log: what the engine of a model wrote last, and with ?follow what it writes from now on."""

from collections import deque
from contextlib import aclosing

from aiohttp import web

from ollama_proxyd.edges.http_api.access import PEERS, check_manager
from ollama_proxyd.edges.http_api.engines import no_engine, pool_of
from ollama_proxyd.edges.http_api.status_events import EVENT_STREAMS, Listener, write
from ollama_proxyd.edges.http_api.streaming import Stream
from ollama_proxyd.services.engines.starting import Starter
from ollama_proxyd.services.tasks import Tasks

PACE_S = 0.05
"""Lines that come so close are told together."""
LOOK_S = 60.0
"""So often it is looked whether the reader still may, where nothing is written."""
MOST_LINES = 1000
"""So many wait for a reader; of more the latest are told."""


async def log(request: web.Request) -> web.StreamResponse:
    """The last lines, as text; with ?follow then each further one until the reader leaves."""
    check_manager(request)
    backend_id, model = request.query.get("backend", ""), request.query.get("model", "")
    starter = pool_of(request, backend_id).starter
    if not (lines := await starter.log(backend_id, model)):
        raise no_engine(backend_id, model)
    if "follow" in request.query:
        return await _follow(request, starter, (backend_id, model))
    return web.Response(text="\n".join(lines) + "\n")


async def _follow(request: web.Request, starter: Starter, of: tuple[str, str]) -> web.StreamResponse:
    """A stream that ends with the server; it has a seat as event streams have."""
    streams = request.app[EVENT_STREAMS]
    with streams.seat(await request.app[PEERS].process(request.transport)) as news:
        response, lines = Stream(headers={"Content-Type": "text/plain; charset=utf-8"}), deque[str](maxlen=MOST_LINES)
        await response.prepare(request)
        async with Tasks("engines.log") as tasks:
            reading = tasks.start("read", _read(starter, of, lines, news))
            while not streams.is_closed:
                news.clear()
                check_manager(request)
                if lines:
                    piece = "".join(f"{lines.popleft()}\n" for _ in range(len(lines)))
                    await write(request, response, piece.encode())
                if reading.done() and not lines:
                    break
                await news.wait(PACE_S, LOOK_S)
        await response.write_eof()
    return response


async def _read(starter: Starter, of: tuple[str, str], lines: deque[str], news: Listener) -> None:
    try:
        async with aclosing(starter.follow(*of)) as written:
            async for line in written:
                lines.append(line)
                news.note(urgent=False)
    except OSError as error:
        lines.append(f"(no further lines: {error.strerror or error})")
    finally:
        news.note(urgent=False)


ROUTES = (web.get("/engines/log", log),)
