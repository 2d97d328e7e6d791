"""The admin API, /v1.0: backends, front ends, models, health, tokens and the audit, as OllamaFlow's users know it."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import web

from ollama_proxyd.core.administration import Entry, Kind, Role, Who
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.statuses import STATUSES
from ollama_proxyd.edges.http_api import catalog, routing_headers
from ollama_proxyd.edges.http_api.access import caller_of
from ollama_proxyd.edges.http_api.admin_objects import OWNER_ONLY, read, shown
from ollama_proxyd.edges.http_api.context import ADMIN, services_of
from ollama_proxyd.edges.http_api.errors import ErrorRenderer
from ollama_proxyd.edges.http_api.status_json import backend_json
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_object
from ollama_proxyd.services.admin import Admin

PREFIX = "/v1.0/"
OWNER = "the owner"
_WORDS = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "AuthenticationFailed",
    HTTPStatus.FORBIDDEN: "AuthorizationFailed",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "TooLarge",
    HTTPStatus.TOO_MANY_REQUESTS: "SlowDown",
}


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """{"Error", "Message", "StatusCode", "Context", "Description"}."""
    status = STATUSES[error.kind]
    word = _WORDS.get(HTTPStatus(status), "InternalError")
    told = {"Error": word, "Message": error.message, "StatusCode": status, "Context": error.param}
    return status, msgspec.json.encode({**told, "Description": error.message})


RENDERER = ErrorRenderer(render_error)


def _admin(request: web.Request) -> Admin:
    admin = request.app[ADMIN].value
    if admin is None:
        raise ProxyError(ErrorKind.UNAVAILABLE, "this daemon keeps no changes; see its log")
    return admin


def _who(request: web.Request, least: Role) -> Who:
    """Who asks; raises ProxyError unless it is the daemon's own user over a Unix socket, or a token of that role."""
    caller = caller_of(request)
    if caller.origins or caller.sites:
        raise ProxyError(ErrorKind.FORBIDDEN, "pages may not use the admin API; use a program", code="cross_site")
    if caller.unix_uid == os.geteuid():
        return Who(OWNER, "a Unix socket")
    token = None if caller.bearer is None else _admin(request).token_of(caller.bearer)
    if token is None:
        message = (
            "the admin API needs a token: send Authorization: Bearer <token>; "
            "make one with: ollama-proxyctl admin add-token NAME --role admin"
        )
        raise ProxyError(ErrorKind.UNAUTHORIZED, message, param="Authorization")
    if token.role < least:
        message = f"the token {token.name} has the role {token.role.name.lower()}, and this needs {least.name.lower()}"
        raise ProxyError(ErrorKind.FORBIDDEN, message, code="role_too_low")
    return Who(token.name, str(request.remote))


async def list_backends(request: web.Request) -> web.Response:
    """Every backend of the file and of this API."""
    return _list(request, Kind.BACKENDS)


async def list_frontends(request: web.Request) -> web.Response:
    """Every front end of the file and of this API."""
    return _list(request, Kind.FRONTENDS)


def _list(request: web.Request, kind: Kind) -> web.Response:
    _who(request, Role.READ)
    return json_reply([_shown(request, kind, each) for each in _admin(request).settings.shown(kind)])


def _shown(request: web.Request, kind: Kind, values: dict[str, Json]) -> dict[str, Json]:
    is_in_file = _admin(request).settings.is_in_file(kind, values[kind.name_key])
    return shown(kind, values, is_in_file=is_in_file)


async def show_one(kind: Kind, request: web.Request) -> web.Response:
    """One of them."""
    _who(request, Role.READ)
    return json_reply(_one(request, kind, request.match_info["name"]))


def _one(request: web.Request, kind: Kind, name: str) -> dict[str, Json]:
    for each in _admin(request).settings.shown(kind):
        if each[kind.name_key] == name:
            return _shown(request, kind, each)
    raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"there is no {name[:100]!r} under {kind.value}")


async def create(kind: Kind, request: web.Request) -> web.Response:
    """Add one that is not there; 201 with all of it."""
    who = _who(request, Role.ADMIN)
    asked = read(kind, await read_object(request))
    if not asked.name:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "Identifier is required", param="Identifier")
    if any(each[kind.name_key].lower() == asked.name.lower() for each in _admin(request).settings.shown(kind)):
        message = f"{asked.name[:100]!r} is there already; replace it with PUT {PREFIX}{kind.value}/{asked.name[:100]}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Identifier")
    return await _put(request, Entry(kind, asked.name, asked.values), who, asked.ignored)


async def replace(kind: Kind, request: web.Request) -> web.Response:
    """Put one in place of what is there: what the body leaves out is as by default."""
    who = _who(request, Role.ADMIN)
    name = request.match_info["name"]
    asked = read(kind, await read_object(request))
    if asked.name not in {None, name}:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "Identifier is not that of the path", param="Identifier")
    return await _put(request, Entry(kind, name, asked.values), who, asked.ignored)


async def _put(request: web.Request, entry: Entry, who: Who, ignored: tuple[str, ...]) -> web.Response:
    if who.name != OWNER and (firm := sorted(OWNER_ONLY & entry.values.keys())):
        message = f"only the daemon's own user may set {firm[0]}; do it with: ollama-proxyctl admin put"
        raise ProxyError(ErrorKind.FORBIDDEN, message, param=firm[0], code="owner_only")
    is_new = await _admin(request).put(entry, who)
    told = _one(request, entry.kind, entry.name)
    reply = json_reply(told, HTTPStatus.CREATED if is_new else HTTPStatus.OK)
    if ignored:
        reply.headers[routing_headers.IGNORED_FIELDS] = routing_headers.header_text(", ".join(ignored))
    return reply


async def delete(kind: Kind, request: web.Request) -> web.Response:
    """Take one away that this API added."""
    await _admin(request).delete(kind, request.match_info["name"], _who(request, Role.ADMIN))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def health(request: web.Request) -> web.Response:
    """Every backend with its health and all that is known of it."""
    _who(request, Role.READ)
    return json_reply(_health(request))


async def health_of_one(request: web.Request) -> web.Response:
    """One backend with its health and all that is known of it."""
    _who(request, Role.READ)
    name = request.match_info["name"]
    for each in _health(request):
        if each["id"] == name:
            return json_reply(each)
    raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"there is no {name[:100]!r} under backends")


def _health(request: web.Request) -> list[dict[str, Json]]:
    services = services_of(request)
    system, row, now_s = services.system.value, services.governor.setting.value.row, services.clock.monotonic()
    found = []
    for view in services.fleet.views.value:
        told = backend_json(view, system, row, services.ledger.totals(view.spec.id), now_s)
        found.append({"Identifier": view.spec.id, "ActiveRequests": view.in_flight, **told})
    return found


async def list_models(request: web.Request) -> web.Response:
    """Every model with the backends that hold it, and what is being pulled."""
    _who(request, Role.READ)
    services = services_of(request)
    held = [{"Name": each.model.name, "Backends": list(each.backends)} for each in await catalog.models(services, None)]
    pulls = [
        {"Name": each.model, "Backend": each.backend, "State": each.state} for each in services.frontends.sync.status()
    ]
    return json_reply({"Models": held, "Pulls": pulls})


async def list_tokens(request: web.Request) -> web.Response:
    """The tokens by name and role; what they are is not known here."""
    _who(request, Role.ADMIN)
    rows = _admin(request).tokens
    return json_reply([{"Name": e.name, "Role": e.role.name.lower(), "CreatedUnix": e.created_unix_s} for e in rows])


async def put_token(request: web.Request) -> web.Response:
    """Make a token, in place of one of that name; it is told this once."""
    who, values = _who(request, Role.ADMIN), await read_object(request)
    name, word = request.match_info["name"], str(values.get("Role", "")).upper()
    if word not in Role.__members__:
        words = ", ".join(each.name.lower() for each in Role)
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"Role must be one of {words}", param="Role")
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise ProxyError(ErrorKind.INVALID_REQUEST, "the name must be 1 to 64 printable characters")
    made = await _admin(request).put_token(name, Role[word], who)
    return json_reply({"Name": name, "Role": word.lower(), "Token": made}, HTTPStatus.CREATED)


async def delete_token(request: web.Request) -> web.Response:
    """Take a token away; it opens nothing from then on."""
    await _admin(request).delete_token(request.match_info["name"], _who(request, Role.ADMIN))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def list_audit(request: web.Request) -> web.Response:
    """Who changed what, from where, newest first."""
    _who(request, Role.ADMIN)
    return json_reply([each._asdict() for each in await _admin(request).audit()])


def _of(
    call: Callable[[Kind, web.Request], Awaitable[web.Response]], kind: Kind
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler for one kind, with the words of the call."""
    handler = partial(call, kind)

    async def answer(request: web.Request) -> web.Response:
        return await handler(request)

    answer.__doc__ = call.__doc__
    return answer


_ONE = "{name:[^/]+}"
ROUTES = (
    web.get(f"{PREFIX}backends", list_backends),
    web.get(f"{PREFIX}frontends", list_frontends),
    web.get(f"{PREFIX}backends/health", health),
    web.get(f"{PREFIX}backends/{_ONE}/health", health_of_one),
    *(web.put(f"{PREFIX}{kind.value}", _of(create, kind)) for kind in Kind),
    *(web.get(f"{PREFIX}{kind.value}/{_ONE}", _of(show_one, kind)) for kind in Kind),
    *(web.put(f"{PREFIX}{kind.value}/{_ONE}", _of(replace, kind)) for kind in Kind),
    *(web.delete(f"{PREFIX}{kind.value}/{_ONE}", _of(delete, kind)) for kind in Kind),
    web.get(f"{PREFIX}health", health),
    web.get(f"{PREFIX}models", list_models),
    web.get(f"{PREFIX}tokens", list_tokens),
    web.put(f"{PREFIX}tokens/{_ONE}", put_token),
    web.delete(f"{PREFIX}tokens/{_ONE}", delete_token),
    web.get(f"{PREFIX}audit", list_audit),
)
