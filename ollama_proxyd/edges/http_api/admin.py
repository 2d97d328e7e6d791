"""The routes about the proxy itself: health, backends, the efficiency mode, heat and the version."""

import msgspec
from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.modes import parse_mode
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api import views
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import SETTINGS, services_of
from ollama_proxyd.edges.http_api.ollama import API_LEVEL
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct


class ModeChoice(msgspec.Struct):
    """The body that selects a mode."""

    mode: str


async def health(request: web.Request) -> web.Response:
    """Whether the proxy can serve, and each backend; 503 when none can."""
    fleet = services_of(request).fleet.views.value
    status = views.status_of(fleet)
    body = {"status": status, "version": __version__, "backends": [views.health_of(view) for view in fleet]}
    return json_reply(body, 503 if status == "down" else 200)


async def alive(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def ready(request: web.Request) -> web.Response:
    """Whether requests are let in and one backend can serve."""
    services = services_of(request)
    fleet = services.fleet.views.value
    up = sum(view.health is Health.UP for view in fleet)
    counted = f"{up}/{len(fleet)} backends can serve"
    try:
        services.gateway.check_open()
    except ProxyError as closed:
        return web.Response(text=f"not ready: {closed.message}\n", status=503)
    return web.Response(text=f"ready: {counted}\n") if up else web.Response(text=f"not ready: {counted}\n", status=503)


async def backends(request: web.Request) -> web.Response:
    """Everything that is known of each backend, in configured order."""
    services = services_of(request)
    fleet, devices = services.fleet.views.value, services.system.value.devices
    return json_reply([views.backend_of(view, services.ledger, devices) for view in fleet])


async def efficiency(request: web.Request) -> web.Response:
    """The mode in force, who holds one, and the table of modes."""
    return json_reply(_efficiency(request))


async def select_efficiency(request: web.Request) -> web.Response:
    """Put a mode in force for the next request on, and keep it over restarts."""
    choice = read_struct(await read_body(request, request.app[SETTINGS].value.max_body_bytes), ModeChoice)
    try:
        services_of(request).governor.select(parse_mode(choice.mode))
    except ValueError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, str(error), param="mode") from None
    return json_reply(_efficiency(request))


async def thermal(request: web.Request) -> web.Response:
    """The readings of the machine and of its devices, each a value or the reason why there is none."""
    services = services_of(request)
    return json_reply(views.machine(services.system.value, services.fleet.views.value))


async def version(_request: web.Request) -> web.Response:
    """What this program is; the name tells it from the engines that it imitates."""
    return json_reply({"name": "ollama-proxyd", "version": __version__, "ollama_api": API_LEVEL})


def _efficiency(request: web.Request) -> Json:
    governor = services_of(request).governor
    return views.efficiency(governor.setting.value, governor.table, governor.holds.value)


ROUTES = (
    web.get("/health", health),
    web.get("/healthz", alive),
    web.get("/readyz", ready),
    web.get("/backends", backends),
    web.get("/efficiency", efficiency),
    web.post("/efficiency", select_efficiency),
    web.get("/thermal", thermal),
    web.get("/version", version),
)
