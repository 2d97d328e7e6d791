"""Applies the access rules to a request, and tells browsers about them (CORS)."""

import socket

from aiohttp import hdrs, web
from multidict import CIMultiDict

from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.hints import HEADERS, REQUEST_ID_HEADER
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.access import AccessRules, Caller
from ollama_proxyd.services.cell import Cell

ACCESS: web.AppKey[Cell[AccessRules]] = web.AppKey("access", Cell)

PREFLIGHT_VALID_S = 600

_METHODS = "GET, HEAD, POST"
_REQUEST_HEADERS = ", ".join(("Authorization", "Content-Type", REQUEST_ID_HEADER, *HEADERS.values()))
_EXPOSED_HEADERS = ", ".join((*routing_headers.NAMES, routing_headers.IGNORED_FIELDS, REQUEST_ID_HEADER))


def rules(settings: ServerSettings) -> AccessRules:
    """The rules of a configuration; the address to listen on is one of the server's names."""
    return AccessRules((settings.host, *settings.allowed_hosts), settings.allowed_origins, settings.token)


def check_host(request: web.Request) -> None:
    """Raise ProxyError for a wrong host or a foreign page."""
    request.app[ACCESS].value.check_host(_caller(request))


def check_token(request: web.Request) -> None:
    """Raise ProxyError for a request without the token, where one is configured."""
    request.app[ACCESS].value.check_token(_caller(request))


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what an allowed page may do."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def preflight_reply() -> web.Response:
    """What an allowed page may do."""
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _REQUEST_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_VALID_S),
        },
    )


def add_cors_headers(request: web.Request, headers: CIMultiDict[str]) -> None:
    """Let a page of a configured origin read this answer."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and request.app[ACCESS].value.allows(origin):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS
        headers[hdrs.VARY] = hdrs.ORIGIN


def _caller(request: web.Request) -> Caller:
    headers = request.headers
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    return Caller(
        hosts=headers.getall(hdrs.HOST, ()),
        origins=headers.getall(hdrs.ORIGIN, ()),
        site=headers.get("Sec-Fetch-Site", "none"),
        authorizations=headers.getall(hdrs.AUTHORIZATION, ()),
        unix_socket=connection if connection is not None and connection.family == socket.AF_UNIX else None,
    )
