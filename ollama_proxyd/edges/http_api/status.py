"""The status of everything at once, and the switch of each backend."""

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import SETTINGS, services_of
from ollama_proxyd.edges.http_api.status_events import events
from ollama_proxyd.edges.http_api.status_picture import backend_picture, status_picture
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct


class Switch(msgspec.Struct):
    """The body that switches a backend on or off."""

    enabled: bool


async def status(request: web.Request) -> web.Response:
    """Everything that a person asks, at this moment."""
    return json_reply(status_picture(services_of(request)))


async def switch(request: web.Request) -> web.Response:
    """Let requests go to a backend, or not; that is kept over restarts."""
    choice = read_struct(await read_body(request, request.app[SETTINGS].value.max_body_bytes), Switch)
    services, backend_id = services_of(request), request.match_info["backend_id"]
    known = [member.id for member in services.fleet.members]
    if backend_id not in known:
        message = f"there is no backend {backend_id[:100]!r}; there are: {', '.join(known) or 'none'}"
        raise ProxyError(ErrorKind.BACKEND_NOT_FOUND, message)
    services.fleet.set_enabled(backend_id, choice.enabled)
    return json_reply(
        backend_picture(services.fleet.view(backend_id), services.system.value, services.governor.setting.value.row)
    )


ROUTES = (
    web.get("/status", status),
    web.get("/status/events", events, allow_head=False),
    web.post("/backends/{backend_id:.+}", switch),
)
