"""The routes of inference, found by a table; all others by aiohttp's resolver."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from ollama_proxyd.edges.http_api.context import LARGE_BODIES
from ollama_proxyd.edges.http_api.middleware import front

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HotRoutes:
    """Answers the requests of an application; `rest` is its own way."""

    def __init__(self, app: web.Application, rest: Answer) -> None:
        self._rest = rest
        self._ways: dict[str, web.UrlMappingMatchInfo] = {}
        """By the path as it is sent, for POST; all requests of one share what their path matches."""
        for route in app.router.routes():
            resource = route.resource
            if route.method == hdrs.METH_POST and isinstance(resource, web.PlainResource) and is_hot(app, route):
                match = self._ways[resource.canonical] = web.UrlMappingMatchInfo({}, route)
                match.add_app(app)
                match.freeze()

    def __call__(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request."""
        match = self._ways.get(request.raw_path) if request.method == hdrs.METH_POST else None
        if match is None:
            return self._rest(request)
        request._match_info = match  # as aiohttp's normalize_path_middleware does
        return front(request, match.handler)


def is_hot(app: web.Application, route: web.AbstractRoute) -> bool:
    """Whether many requests take a route."""
    return route.handler in app[LARGE_BODIES]
