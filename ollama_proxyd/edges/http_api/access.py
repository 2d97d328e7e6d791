"""Who sends an HTTP request, held against the access rules; and what browsers are told (CORS)."""

import re
import socket
from collections.abc import MutableMapping, Sequence
from typing import Any

from aiohttp import hdrs, web

from ollama_proxyd.core.administration import Role
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.programs import Asker
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.context import ADMIN, RENDER_PATH, SERVED, SETTINGS
from ollama_proxyd.edges.http_api.hints import REQUEST_ID_HEADER
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.access import AccessRules, Caller, other_user
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS
from ollama_proxyd.edges.plumbing.peers import Peers, is_from_here, served_uids
from ollama_proxyd.services.cell import Cell

_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}([ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}){0,63}")
"""A list of at most 64 header names (RFC 9110, section 5.6.2)."""

ACCESS: web.AppKey[Cell[AccessRules]] = web.AppKey("access", Cell)
PEERS: web.AppKey[Peers] = web.AppKey("peers", Peers)
RULES: web.RequestKey[AccessRules] = web.RequestKey("rules", AccessRules)
"""Whom the front end of a request lets in; absent at the daemon's own address."""
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)

_SHOWN = (hdrs.HOST, hdrs.ORIGIN, "Sec-Fetch-Site", hdrs.AUTHORIZATION, "x-api-key")
"""The headers by which a sender is let in."""

PREFLIGHT_VALID_S = 600

_METHODS = "GET, HEAD, POST"
_REQUEST_HEADERS = ", ".join(("Authorization", "Content-Type", REQUEST_ID_HEADER, *HEADERS.values()))
_EXPOSED_HEADERS = ", ".join((*routing_headers.NAMES, *routing_headers.OTHERS, REQUEST_ID_HEADER, "request-id"))


def rules(settings: ServerSettings) -> AccessRules:
    """The rules of a configuration; the address to listen on is one of the server's names."""
    names = (settings.host, *settings.allowed_hosts)
    return AccessRules(names, settings.allowed_origins, settings.token, settings.other_users)


class Door(web.RequestHandler):
    """A connection that remembers who asks; over TLS transports take no weak reference, so it is kept here."""

    __slots__ = ("asker", "let_in")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.let_in: Sequence[object] | None = None
        """The rules and headers of the last request that had the token, or needed none."""
        self.asker: Asker | None = None
        """The program behind it, once that was looked for."""


def rules_of(request: web.Request) -> AccessRules:
    """The rules of the place that a request came to."""
    return request[RULES] if RULES in request else request.app[ACCESS].value


def is_as_before(request: web.Request) -> bool:
    """Whether the same rules have let in a request of the same connection that showed the same."""
    door = request.protocol
    known = door.let_in if isinstance(door, Door) and request.method != hdrs.METH_OPTIONS else None
    return known is not None and known == _shown(request)


def _shown(request: web.Request) -> Sequence[object]:
    headers = request.headers
    return [rules_of(request), *[headers.getall(name, ()) for name in _SHOWN]]


def check_host(request: web.Request) -> None:
    """Raise ProxyError for a wrong host or a foreign page."""
    rules_of(request).check_host(caller_of(request))


def check_sender(request: web.Request, *, needs_token: bool) -> None:
    """Raise ProxyError for another user of this machine, and for a request without the token that it needs."""
    access_rules, caller = rules_of(request), caller_of(request)
    access_rules.check_user(caller)
    if needs_token:
        try:
            access_rules.check_token(caller)
        except ProxyError:
            if not _has_role(request, caller):
                raise
        else:
            if isinstance(request.protocol, Door):
                request.protocol.let_in = _shown(request)


def _has_role(request: web.Request, caller: Caller) -> bool:
    """Whether a token of the admin API opens the daemon's own address: one for reading asks no model."""
    admin = request.app[ADMIN].value
    if admin is None or caller.bearer is None or RULES in request:
        return False
    token = admin.token_of(caller.bearer)
    is_look = request.method in {hdrs.METH_GET, hdrs.METH_HEAD} and hdrs.UPGRADE not in request.headers
    is_use = request.match_info.handler in request.app[SERVED] or request.path == RENDER_PATH
    least = Role.READ if is_look else Role.USE if is_use else Role.ADMIN
    return token is not None and token.role >= least


def check_manager(request: web.Request, what: str = "change models") -> None:
    """Raise ProxyError unless a program of this user asks, a page of this server, or who holds the token."""
    caller, has_token = caller_of(request), request.app[SETTINGS].value.token is not None
    if not caller.is_own_page_or_program:
        message = f"pages of others may not {what}; use a program, or this server's own page"
        raise ProxyError(ErrorKind.FORBIDDEN, message, code="cross_site")
    uid = caller.uid if caller.unix_socket is None else caller.unix_uid
    if uid not in served_uids() and not (has_token and uid is None):
        raise other_user(f"only programs of this server's own user {what}")


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what an allowed page may do."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def preflight_reply(request: web.Request) -> web.Response:
    """What an allowed page may do; it may send the headers that it asks for, since its origin is allowed by name.

    OpenAI's SDK sends headers of its own, and each release adds one (ollama#4388).
    """
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").strip()
    headers = f"{_REQUEST_HEADERS}, {asked}" if _HEADER_NAMES.fullmatch(asked) else _REQUEST_HEADERS
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: headers,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_VALID_S),
        },
    )


def add_cors_headers(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Let a page of a configured origin read this answer."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and request.app[ACCESS].value.allows(origin):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS
        headers[hdrs.VARY] = hdrs.ORIGIN


def caller_of(request: web.Request) -> Caller:
    """The sender of a request, looked at once: three rules ask for it."""
    caller = request.get(CALLER)
    if caller is None:
        caller = request[CALLER] = _look(request)
    return caller


def _look(request: web.Request) -> Caller:
    headers, transport = request.headers, request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    is_unix = connection is not None and connection.family == socket.AF_UNIX
    is_local = transport is not None and not is_unix and is_from_here(transport)
    return Caller(
        hosts=headers.getall(hdrs.HOST, ()),
        origins=headers.getall(hdrs.ORIGIN, ()),
        sites=headers.getall("Sec-Fetch-Site", ()),
        authorizations=headers.getall(hdrs.AUTHORIZATION, ()),
        api_keys=headers.getall("x-api-key", ()),
        unix_socket=connection if is_unix else None,
        is_from_here=is_local,
        uid=request.app[PEERS].uid(transport) if is_local else None,
    )
