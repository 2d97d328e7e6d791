"""The routes about the proxy itself: health, backends, heat and the version."""

from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.edges.http_api import views
from ollama_proxyd.edges.http_api.context import ENDPOINT, services_of
from ollama_proxyd.edges.http_api.ollama import API_LEVEL
from ollama_proxyd.edges.http_api.strict_json import json_reply


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


async def thermal(request: web.Request) -> web.Response:
    """The readings of the machine and of its devices, each a value or the reason why there is none."""
    services = services_of(request)
    return json_reply(views.machine(services.system.value, services.fleet.views.value))


async def version(request: web.Request) -> web.Response:
    """What this program is and where it listens; the name tells it from the engines that it imitates."""
    endpoint = request.app[ENDPOINT]()
    return json_reply({"name": "ollama-proxyd", "version": __version__, "ollama_api": API_LEVEL, "endpoint": endpoint})


ROUTES = (
    web.get("/health", health),
    web.get("/healthz", alive),
    web.get("/readyz", ready),
    web.get("/backends", backends),
    web.get("/thermal", thermal),
    web.get("/version", version),
)
