"""Lets pages of configured origins read the answers; all others are stopped at the door."""

from aiohttp import hdrs, web
from multidict import CIMultiDict

from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.context import DOOR
from ollama_proxyd.edges.http_api.hints import HEADERS, REQUEST_ID_HEADER

REMEMBER_S = 600

_METHODS = "GET, HEAD, POST"
_ASKED = ", ".join(("Authorization", "Content-Type", REQUEST_ID_HEADER, *HEADERS.values()))
_SHOWN = ", ".join((*routing_headers.NAMES, routing_headers.IGNORED_FIELDS, REQUEST_ID_HEADER))


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what an allowed page may do."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def preflight_reply() -> web.Response:
    """What an allowed page may do."""
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ASKED,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(REMEMBER_S),
        },
    )


def add_permission(request: web.Request, headers: CIMultiDict[str]) -> None:
    """Tell the browser that the page may read this answer, if its origin is configured."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and request.app[DOOR].value.allows(origin):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _SHOWN
        headers[hdrs.VARY] = hdrs.ORIGIN
