"""What handlers find in the application and in a request."""

from collections.abc import Callable, Collection

from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.admin import Admin
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import House

SERVER_NAME = f"ollama-proxyd/{__version__}"

SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
SETTINGS: web.AppKey[Cell[ServerSettings]] = web.AppKey("settings", Cell)
STARTED_AT: web.AppKey[int] = web.AppKey("started_at", int)
"""Unix time in seconds."""
BEGUN_S: web.AppKey[float] = web.AppKey("begun_s", float)
"""The same by a clock that nobody sets."""
LARGE_BODIES: web.AppKey[Collection[object]] = web.AppKey("large_bodies")
"""The handlers of routes that take bodies up to the configured limit; all others take small ones."""
SERVED: web.AppKey[Collection[object]] = web.AppKey("served_at_frontends")
"""The handlers that answer at front ends; the others are the daemon's own."""
ENDPOINT: web.AppKey[Callable[[], str]] = web.AppKey("endpoint")
"""Where clients on this machine find the server."""

ADMIN: web.AppKey[Cell[Admin | None]] = web.AppKey("admin", Cell)
"""None where the daemon keeps no changes."""

HOUSE: web.AppKey[Cell[House | None]] = web.AppKey("house", Cell)
"""None where other machines are neither used nor served."""

ANTHROPIC_VERSION = "anthropic-version"
"""The header that Anthropic's clients send with every request."""

FRONTEND: web.RequestKey[Frontend] = web.RequestKey("frontend", Frontend)
"""The front end that a request came to; absent at the daemon's own address."""
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


RENDER_PATH = "/ui/render"
"""Where the web page has answers made into HTML; no model is asked, and nothing changes."""


def speaks_anthropic(request: web.Request) -> bool:
    """Whether a client reads Anthropic's shapes: on its own routes, and by its header on those that two APIs have."""
    path = request.path
    return path.startswith("/v1/messages") or (path.startswith("/v1/models") and ANTHROPIC_VERSION in request.headers)


def begin(app: web.Application) -> None:
    """Note when the server began."""
    app[STARTED_AT], app[BEGUN_S] = int(app[SERVICES].clock.unix()), _running_s(app)


def uptime_s(request: web.Request) -> int:
    """How long the server has been there, the machine's sleep included."""
    return int(_running_s(request.app) - request.app[BEGUN_S])


def _running_s(app: web.Application) -> float:
    return app[SERVICES].clock.monotonic() + app[SERVICES].clock.slept_s()


def services_of(request: web.Request) -> Services:
    """The services behind the server."""
    return request.app[SERVICES]
