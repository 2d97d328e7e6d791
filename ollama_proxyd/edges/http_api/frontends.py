"""Which front end a request came to, what it is let do there, and what becomes of its options."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontend_settings import OF_COUNTS, OF_EMBEDDINGS, FrontendSettings
from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.kept_responses import KeptResponses
from ollama_proxyd.core.requests import Content, Hints, Json, Request
from ollama_proxyd.dialects.base import ClientDialect, Parse
from ollama_proxyd.dialects.framing.placing import placed
from ollama_proxyd.edges.http_api.access import RULES
from ollama_proxyd.edges.http_api.context import FRONTEND, SERVED, services_of
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.access import AccessRules, host_name
from ollama_proxyd.services.cell import Cell

KEPT: web.AppKey[Mapping[str, KeptResponses]] = web.AppKey("kept_responses")
"""Responses that clients can go on from, of each front end by its name; those of the daemon's own address by none."""


class Entrances:
    """The front ends by the places that lead to them: ports, paths of sockets, and host names.

    former: places that led to a front end before; connections to them may still be open.
    """

    def __init__(
        self, server: ServerSettings, frontends: Sequence[FrontendSettings], former: Collection[object] = ()
    ) -> None:
        self.settings = {each.name: each for each in frontends}
        self._by_place: dict[object, FrontendSettings] = {}
        self._by_host = {host: each for each in frontends for host in each.hosts}
        self._rules = {each.name: _rules(server, each) for each in frontends}
        for each in frontends:
            self._by_place |= {place: each for place in (each.port, each.unix_socket) if place is not None}
        self._former = frozenset(former) - self._by_place.keys()

    @property
    def places(self) -> Collection[object]:
        """The ports and sockets that lead to a front end, or did before."""
        return self._former | self._by_place.keys()

    def enter(self, request: web.Request) -> None:
        """Note the front end of a request; a place of its own counts before the host's name."""
        transport = request.transport
        name = None if transport is None else transport.get_extra_info("sockname")
        place = name[1] if isinstance(name, tuple) else name
        if place in self._former:
            message = "the front end of this address is gone from the configuration; connect anew"
            raise ProxyError(ErrorKind.FORBIDDEN, message, code="frontend_gone")
        found = self._by_place.get(place) or self._by_host.get(host_name(request.headers.getall("Host", ())))
        if found is not None:
            request[FRONTEND], request[RULES] = found.rules, self._rules[found.name]


ENTRANCES: web.AppKey[Cell[Entrances | None]] = web.AppKey("entrances", Cell)
"""None where no front end is configured."""


def _rules(server: ServerSettings, frontend: FrontendSettings) -> AccessRules:
    names = (server.host, *server.allowed_hosts, *frontend.hosts)
    token = server.token if frontend.token is None else frontend.token
    where = f"the front end {frontend.name}"
    return AccessRules(names, server.allowed_origins, token, server.other_users, where)


def check_route(request: web.Request) -> None:
    """Raise ProxyError for what front ends do not answer: the daemon's own state, and the files of models."""
    frontend = request.get(FRONTEND)
    match = request.match_info
    if frontend is None or match.http_exception is not None or match.handler in request.app[SERVED]:
        return
    message = f"the front end {frontend.name} does not answer {request.path[:200]}; ask at the daemon's own address"
    raise ProxyError(ErrorKind.FORBIDDEN, message, code="not_at_frontend")


def settings_of(request: web.Request) -> FrontendSettings | None:
    """The settings of a request's front end, None at the daemon's own address."""
    frontend, entrances = request.get(FRONTEND), request.app[ENTRANCES].value
    return None if frontend is None or entrances is None else entrances.settings.get(frontend.name)


def kept_of(request: web.Request) -> KeptResponses:
    """The responses that were made at the same front end."""
    frontend = request.get(FRONTEND)
    return request.app[KEPT]["" if frontend is None else frontend.name]


def no_responses() -> Mapping[str, KeptResponses]:
    """Room for the responses of each front end."""
    return defaultdict(KeptResponses)


def entered(request: web.Request, asked: Request) -> Request:
    """The request with its turn at its front end; ProxyError where that does not take its kind."""
    frontend = asked.hints.frontend
    if frontend is None:
        return asked
    return services_of(request).frontends.enter(asked, frontend.name, sticky_key(request))


def sticky_key(request: web.Request) -> str | None:
    """What a request has in the header by which its front end keeps requests together."""
    frontend = request.get(FRONTEND)
    if frontend is None or frontend.balancing is not Balancing.STICKY:
        return None
    return None if frontend.sticky_header is None else request.headers.get(frontend.sticky_header)


def parsing(request: web.Request, dialect: ClientDialect, parse: Parse, hints: Hints) -> Callable[[bytes], Request]:
    """Reads a body, with the options that the front end pins and those that it adds."""
    found = settings_of(request)
    if found is None or not (found.pinned or found.defaults):
        return lambda body: parse(body, hints)
    taken = _TAKEN.get(request.path.rpartition("/")[2])
    pinned, defaults = (
        {name: value for name, value in each.items() if taken is None or name in taken}
        for each in (found.pinned, found.defaults)
    )
    return partial(_parsed, dialect, parse, hints, pinned, defaults)


_TAKEN = {**dict.fromkeys(("embed", "embeddings"), OF_EMBEDDINGS), "count_tokens": OF_COUNTS}
"""What calls take of the options, by the end of their path, where that is not all."""


def _parsed(
    dialect: ClientDialect,
    parse: Parse,
    hints: Hints,
    pinned: Mapping[str, Json],
    defaults: Mapping[str, Json],
    body: bytes,
) -> Request:
    asked = parse(placed(body, dialect.option_places, pinned, defaults), hints)
    rest = [
        {name: value for name, value in each.items() if name not in dialect.option_places}
        for each in (pinned, defaults)
    ]
    return _amended(asked, *rest) if any(rest) else asked


def _amended(asked: Request, *options: Mapping[str, Json]) -> Request:
    """The request with options for which the client's API has no words, also for the rest of an answer that broke."""
    resume = asked.resume
    if resume is not None:
        go_on = resume.request
        resume = resume._replace(request=lambda now, spoken: _amended(go_on(now, spoken), *options))
    return replace(asked, content=lambda: _with(asked.content(), *options), resume=resume, is_amended=True)


def _with(content: Content, pinned: Mapping[str, Json], defaults: Mapping[str, Json]) -> Content:
    """The content with further options."""
    options = content.options
    known = {**defaults, **options.known, **pinned}
    return replace(content, options=replace(options, known=known))
