"""Turns a ProxyError into an answer in the client's dialect."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.routed import RoutedError
from ollama_proxyd.dialects.anthropic.errors import render_error as render_anthropic
from ollama_proxyd.dialects.base import ClientDialect
from ollama_proxyd.dialects.framing.statuses import NOT_IMPLEMENTED, STATUS_OF_CODE, STATUSES, status_of, told_kind
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.context import REQUEST_ID, speaks_anthropic
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE

RETRY_AFTER_S: Mapping[ErrorKind, float] = MappingProxyType({ErrorKind.UNAVAILABLE: 5.0, ErrorKind.OVERLOADED: 1.0})
"""When to come back, where the error does not say."""

_FOR_GOOD = frozenset({NOT_IMPLEMENTED, STATUSES[ErrorKind.NO_ROOM]})
_KEY_REJECTED = frozenset({401, 403, 407})
"""Statuses of backends: what they refuse waits for a person."""


class ErrorRenderer(NamedTuple):
    """Writes an error for a client, and in which content type."""

    render: Callable[[ProxyError], tuple[int, bytes]]
    content_type: str = JSON_TYPE


def render_own(error: ProxyError) -> tuple[int, bytes]:
    """An error of the server's own routes: {"error": a sentence, "kind": …, "param": …}."""
    body = {"error": error.message, "kind": error.kind.value}
    if error.param is not None:
        body["param"] = error.param
    return status_of(error), msgspec.json.encode(body)


OWN = ErrorRenderer(render_own)


class ErrorRenderers:
    """Which dialect words the errors of each route."""

    def __init__(self) -> None:
        self._by_handler: dict[object, ErrorRenderer] = {}
        self._by_prefix: dict[str, ErrorRenderer] = {}

    def add(self, dialect: ClientDialect, routes: Iterable[web.RouteDef]) -> None:
        """Errors of these routes, and of unknown paths beside them, are in this dialect."""
        self.use(ErrorRenderer(dialect.render_error, dialect.whole_type), dialect.prefix, routes)

    def use(self, renderer: ErrorRenderer, prefix: str, routes: Iterable[web.RouteDef]) -> None:
        """Errors of these routes, and of unknown paths below the prefix, are written so."""
        self._by_prefix.setdefault(prefix, renderer)
        self._by_handler.update({route.handler: renderer for route in routes})

    def of(self, request: web.Request) -> ErrorRenderer:
        """Who words an error of a request: its route's dialect, else that of the unknown path's neighbours."""
        if speaks_anthropic(request):
            return ErrorRenderer(partial(render_anthropic, request_id=request.get(REQUEST_ID)))
        match = request.match_info
        if match.http_exception is None:
            return self._by_handler.get(match.handler, OWN)
        return self.beside(request.path)

    def beside(self, path: str) -> ErrorRenderer:
        """Who words an error of a path that no route has, or whose request could not be read."""
        if path.startswith("/v1/messages"):
            return ErrorRenderer(render_anthropic)
        return next((each for prefix, each in self._by_prefix.items() if path.startswith(prefix)), OWN)


RENDERERS: web.AppKey[ErrorRenderers] = web.AppKey("renderers", ErrorRenderers)


def error_reply(error: ProxyError, renderer: ErrorRenderer) -> web.Response:
    """The answer with the error, and the routing headers where it was routed."""
    status, body = renderer.render(error)
    headers = {"Content-Type": renderer.content_type, **_routing(error)}
    wait_s = RETRY_AFTER_S.get(told_kind(error)) if error.wait_s is None else error.wait_s
    if wait_s is not None:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(wait_s))
    if status in _FOR_GOOD or error.status in _KEY_REJECTED:
        headers["X-Should-Retry"] = "false"  # OpenAI's clients ask again after every 5xx that does not say this
    if error.kind is ErrorKind.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="ollama-proxyd"'
    reply = web.Response(body=body, status=STATUS_OF_CODE.get(error.code, status), headers=headers)
    if reply.status == HTTPStatus.REQUEST_TIMEOUT:
        reply.force_close()  # the rest of a body is not waited for (RFC 9110, 15.5.9)
    return reply


def _routing(error: ProxyError) -> dict[str, str]:
    if isinstance(error, RoutedError):
        return routing_headers.routed(error.decision, error.backend_id)
    return routing_headers.unrouted(error.message)
