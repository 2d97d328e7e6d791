"""The HTTP server: its routes, and its life from the first listening to the last answer."""

import errno
import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api import admin, explain, metrics, ollama, openai
from ollama_proxyd.edges.http_api.context import DOOR, SERVICES, SETTINGS, STARTED_AT
from ollama_proxyd.edges.http_api.door import Door
from ollama_proxyd.edges.http_api.middleware import complete, front
from ollama_proxyd.edges.http_api.port_owner import port_owner
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.timestamps import unix_s
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell

BACKLOG = 1024
LAST_WORDS_S = 1.0
"""How long answers that were cut off get to say so to their clients."""
LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client gets to read why."""


def build_app(services: Cell[Services], settings: ServerSettings) -> web.Application:
    """Every route of the API over the services in force."""
    app = web.Application(middlewares=[front], client_max_size=settings.max_body_bytes)
    app[SERVICES] = services
    app[SETTINGS] = Cell(settings)
    app[DOOR] = Cell(Door(settings))
    app[STARTED_AT] = unix_s()
    app.on_response_prepare.append(complete)
    for routes in (openai.ROUTES, ollama.ROUTES, admin.ROUTES, explain.ROUTES):
        app.add_routes(routes)
    if settings.serve_metrics:
        metrics.add_to(app, services)
    return app


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(self, services: Cell[Services], settings: ServerSettings) -> None:
        self._settings = settings
        self._app = build_app(services, settings)
        self._runner = web.AppRunner(
            self._app,
            handler_cancellation=True,  # a client that leaves ends the work for it
            logger=_protocol_log(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=settings.keep_alive_s,
            lingering_time=LINGER_S,
            shutdown_timeout=LAST_WORDS_S,
        )
        self._site: web.TCPSite | None = None

    @property
    def port(self) -> int:
        """The port in use, once started; the configured one before."""
        return self._settings.port if self._site is None else self._site.port

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server."""
        host = self._settings.host
        shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - shown, not bound
        return f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"

    async def start(self) -> None:
        """Begin to listen; raises ProxyError with a sentence that says why it cannot."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise _cannot_listen(self._settings, error) from error
        self._site = site

    def reconfigure(self, settings: ServerSettings) -> None:
        """Apply what may change while listening: names, origins, the token and the size of bodies."""
        self._app[SETTINGS].set(settings)
        self._app[DOOR].set(Door(settings))

    async def refuse_new(self) -> None:
        """Listen no more; what is under way goes on."""
        if self._site is not None:
            await self._site.stop()

    async def stop(self) -> None:
        """Close what is still open, with a moment for last words."""
        await self._runner.cleanup()


def _protocol_log() -> logging.Logger:
    """Where faults below the middleware are logged; bytes that are no HTTP and clients that leave are not ours."""
    log = logging.getLogger(f"{__name__}.protocol")
    log.addFilter(_is_ours)
    return log


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))


def _cannot_listen(settings: ServerSettings, error: OSError) -> ProxyError:
    """The sentence for a person who starts the server."""
    port, host = settings.port, settings.host
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(port)
        taken = f"port {port} is taken by another program{f' ({owner})' if owner else ''}"
        message = f"{taken}; end that program, or choose another port with server.http_port in the configuration"
    elif error.errno == errno.EACCES:
        message = f"port {port} needs rights that this program lacks; choose one above 1023"
    else:
        message = f"cannot listen on {host} port {port}: {error.strerror or error}"
    return ProxyError(ErrorKind.UNAVAILABLE, message, code="cannot_listen")
