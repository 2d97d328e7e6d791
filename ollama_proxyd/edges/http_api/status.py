"""The routes about the proxy itself: health, status, backends, heat and the version."""

import asyncio
from contextlib import suppress

import msgspec
from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.core.backend_status import backend_status, within_mode
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.edges.http_api import modeld
from ollama_proxyd.edges.http_api.context import ENDPOINT, services_of, uptime_s
from ollama_proxyd.edges.http_api.ollama import API_LEVEL
from ollama_proxyd.edges.http_api.status_events import events, whole
from ollama_proxyd.edges.http_api.status_json import backend_json, fields_json, health_json, thermal_json
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.status import moment

GRPC_ENDPOINT: web.AppKey[Cell[str | None]] = web.AppKey("grpc_endpoint", Cell)
"""What clients of gRPC call, None where it is not served."""
CHECKED_WITHIN_S = 3.0
"""How long the answer waits for the first check of a backend that was switched on."""


class Switch(msgspec.Struct):
    """The body that switches a backend on or off."""

    enabled: bool


async def health(request: web.Request) -> web.Response:
    """Whether the proxy can serve, and each backend; 503 when none can."""
    services = services_of(request)
    views, row = services.fleet.views.value, services.governor.setting.value.row
    body = health_json(views, within_mode(views, services.system.value, row), services.clock.monotonic())
    return json_reply(body, 503 if body["status"] == "down" else 200)


async def alive(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def ready(request: web.Request) -> web.Response:
    """Whether requests are let in and one backend can serve; no more, since anyone on the machine may ask."""
    services = services_of(request)
    is_ready = any(view.health is Health.UP for view in services.fleet.views.value)
    try:
        services.gateway.check_open()
    except ProxyError:
        is_ready = False
    return web.Response(text="ready\n") if is_ready else web.Response(text="not ready\n", status=503)


async def status(request: web.Request) -> web.Response:
    """Everything that a person asks, at this moment."""
    services = services_of(request)
    return json_reply({**whole(services), **modeld.manager(services, uptime_s(request))})


async def backends(request: web.Request) -> web.Response:
    """Everything that is known of each backend, in configured order."""
    services = services_of(request)
    system, row, totals = services.system.value, services.governor.setting.value.row, services.ledger.totals
    views, now = services.fleet.views.value, moment(services.clock)
    return json_reply([backend_json(view, system, row, totals(view.spec.id), now) for view in views])


async def switch(request: web.Request) -> web.Response:
    """Let requests go to a backend, or not; that is kept over restarts."""
    choice = await read_struct(request, Switch)
    services, backend_id = services_of(request), request.match_info["backend_id"]
    known = [member.id for member in services.fleet.members.values()]
    if backend_id not in known:
        message = f"there is no backend {backend_id[:100]!r}; there are: {', '.join(known) or 'none'}"
        raise ProxyError(ErrorKind.BACKEND_NOT_FOUND, message)
    services.fleet.set_enabled(backend_id, choice.enabled)
    await services.store.written()
    if choice.enabled:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECKED_WITHIN_S):
                await services.health.check_new()
    row = services.governor.setting.value.row
    view, now = services.fleet.view(backend_id), moment(services.clock)
    return json_reply(fields_json(backend_status(view, services.system.value, row, now)))


async def thermal(request: web.Request) -> web.Response:
    """The readings of the machine and of its devices."""
    services = services_of(request)
    return json_reply(thermal_json(services.system.value, services.fleet.views.value))


async def version(request: web.Request) -> web.Response:
    """What this program is and where it listens; the name tells it from the engines that it imitates."""
    where = {"endpoint": request.app[ENDPOINT](), "grpc_endpoint": request.app[GRPC_ENDPOINT].value}
    return json_reply({"name": "ollama-proxyd", "version": __version__, "ollama_api": API_LEVEL, **where})


ROUTES = (
    web.get("/health", health),
    web.get("/healthz", alive),
    web.get("/readyz", ready),
    web.get("/status", status),
    web.get("/status/events", events, allow_head=False),
    web.get("/backends", backends),
    web.post("/backends/{backend_id:.+}", switch),
    web.get("/thermal", thermal),
    web.get("/version", version),
)
