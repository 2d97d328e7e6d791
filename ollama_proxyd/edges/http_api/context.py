"""What handlers find in the application and in a request."""

from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.edges.http_api.door import Door
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell

SERVER_NAME = f"ollama-proxyd/{__version__}"

SERVICES: web.AppKey[Cell[Services]] = web.AppKey("services", Cell)
SETTINGS: web.AppKey[Cell[ServerSettings]] = web.AppKey("settings", Cell)
DOOR: web.AppKey[Cell[Door]] = web.AppKey("door", Cell)
STARTED_AT: web.AppKey[int] = web.AppKey("started_at", int)
"""Unix time in seconds."""

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


def services_of(request: web.Request) -> Services:
    """The services in force; a handler asks once, at its start, so that a reload does not change them under it."""
    return request.app[SERVICES].value
