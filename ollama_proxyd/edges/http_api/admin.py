"""The admin API, /v1.0: backends, front ends, models, health, tokens and the audit, as OllamaFlow's users know it."""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import web

from ollama_proxyd.core.administration import Entry, Kind, Role, Who
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.statuses import STATUSES
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.admin_callers import ONE, OWNER, PREFIX, admin_of, who_asks
from ollama_proxyd.edges.http_api.admin_objects import OWNER_ONLY, read, shown
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.errors import ErrorRenderer
from ollama_proxyd.edges.http_api.status_json import backend_json
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_object
from ollama_proxyd.services.status import moment

_WORDS = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "AuthenticationFailed",
    HTTPStatus.FORBIDDEN: "AuthorizationFailed",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "BadRequest",
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


async def list_backends(request: web.Request) -> web.Response:
    """Every backend of the file and of this API."""
    return _list(request, Kind.BACKENDS)


async def list_frontends(request: web.Request) -> web.Response:
    """Every front end of the file and of this API."""
    return _list(request, Kind.FRONTENDS)


def _list(request: web.Request, kind: Kind) -> web.Response:
    who_asks(request, Role.READ)
    return json_reply(_all(request, kind))


def _all(request: web.Request, kind: Kind) -> list[dict[str, Json]]:
    """All that are in force; then those that are kept and not in force, with the reason under "LeftOut"."""
    admin = admin_of(request)
    kept = {each.name: each.values for each in admin.entries if each.kind is kind}
    out = [
        {**shown(kind, {**kept[each.name], kind.name_key: each.name}, is_in_file=False), "LeftOut": each.why}
        for each in admin.settings.left_out()
        if each.kind is kind and each.name in kept
    ]
    return [*(_shown(request, kind, each) for each in admin.settings.shown(kind)), *out]


def _shown(request: web.Request, kind: Kind, values: dict[str, Json]) -> dict[str, Json]:
    is_in_file = admin_of(request).settings.is_in_file(kind, values[kind.name_key])
    return shown(kind, values, is_in_file=is_in_file)


async def show_one(kind: Kind, request: web.Request) -> web.Response:
    """One of them."""
    who_asks(request, Role.READ)
    return json_reply(_one(request, kind, request.match_info["name"]))


def _one(request: web.Request, kind: Kind, name: str) -> dict[str, Json]:
    for each in _all(request, kind):
        if each[kind.name_key] == name:
            return each
    raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"there is no {name[:100]!r} under {kind.value}")


async def create(kind: Kind, request: web.Request) -> web.Response:
    """Add one that is not there; 201 with all of it."""
    who = who_asks(request, Role.ADMIN)
    asked = read(kind, await read_object(request))
    if not asked.name:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "Identifier is required", param="Identifier")
    if any(each[kind.name_key].lower() == asked.name.lower() for each in _all(request, kind)):
        message = f"{asked.name[:100]!r} is there already; replace it with PUT {PREFIX}{kind.value}/{asked.name[:100]}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Identifier")
    return await _put(request, Entry(kind, asked.name, asked.values), who, asked.ignored)


async def replace(kind: Kind, request: web.Request) -> web.Response:
    """Put one in place of what is there: what the body leaves out is as by default."""
    who = who_asks(request, Role.ADMIN)
    name = request.match_info["name"]
    asked = read(kind, await read_object(request))
    if asked.name not in {None, name}:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "Identifier is not that of the path", param="Identifier")
    return await _put(request, Entry(kind, name, asked.values), who, asked.ignored)


async def _put(request: web.Request, entry: Entry, who: Who, ignored: tuple[str, ...]) -> web.Response:
    if who.name != OWNER and (firm := sorted(OWNER_ONLY & entry.values.keys())):
        message = f"only the daemon's own user may set {firm[0]}; do it with: ollama-proxyctl admin put"
        raise ProxyError(ErrorKind.FORBIDDEN, message, param=firm[0], code="owner_only")
    is_new = await admin_of(request).put(entry, who)
    told = _one(request, entry.kind, entry.name)
    reply = json_reply(told, HTTPStatus.CREATED if is_new else HTTPStatus.OK)
    if ignored:
        reply.headers[routing_headers.IGNORED_FIELDS] = routing_headers.header_text(", ".join(ignored))
    return reply


async def delete(kind: Kind, request: web.Request) -> web.Response:
    """Take one away that this API added."""
    await admin_of(request).delete(kind, request.match_info["name"], who_asks(request, Role.ADMIN))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def health(request: web.Request) -> web.Response:
    """Every backend with its health and all that is known of it."""
    who_asks(request, Role.READ)
    return json_reply(_health(request))


async def health_of_one(request: web.Request) -> web.Response:
    """One backend with its health and all that is known of it."""
    who_asks(request, Role.READ)
    name = request.match_info["name"]
    for each in _health(request):
        if each["id"] == name:
            return json_reply(each)
    raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"there is no {name[:100]!r} under backends")


def _health(request: web.Request) -> list[dict[str, Json]]:
    services = services_of(request)
    system, row, now = services.system.value, services.governor.setting.value.row, moment(services.clock)
    found = []
    for view in services.fleet.views.value:
        told = backend_json(view, system, row, services.ledger.totals(view.spec.id), now)
        found.append({"Identifier": view.spec.id, "ActiveRequests": view.in_flight, **told})
    return found


async def list_tokens(request: web.Request) -> web.Response:
    """The tokens by name and role; what they are is not known here."""
    who_asks(request, Role.ADMIN)
    rows = admin_of(request).tokens
    return json_reply([{"Name": e.name, "Role": e.role.name.lower(), "CreatedUnix": e.created_unix_s} for e in rows])


async def put_token(request: web.Request) -> web.Response:
    """Make a token, in place of one of that name; it is told this once."""
    who, values = who_asks(request, Role.ADMIN), await read_object(request)
    name, word = request.match_info["name"], str(values.get("Role", "")).upper()
    if word not in Role.__members__:
        words = ", ".join(each.name.lower() for each in Role)
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"Role must be one of {words}", param="Role")
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise ProxyError(ErrorKind.INVALID_REQUEST, "the name must be 1 to 64 printable characters")
    made = await admin_of(request).put_token(name, Role[word], who)
    return json_reply({"Name": name, "Role": word.lower(), "Token": made}, HTTPStatus.CREATED)


async def delete_token(request: web.Request) -> web.Response:
    """Take a token away; it opens nothing from then on."""
    await admin_of(request).delete_token(request.match_info["name"], who_asks(request, Role.ADMIN))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def list_audit(request: web.Request) -> web.Response:
    """Who changed what, from where, newest first."""
    who_asks(request, Role.ADMIN)
    return json_reply([each._asdict() for each in await admin_of(request).audit()])


def _of(
    call: Callable[[Kind, web.Request], Awaitable[web.Response]], kind: Kind
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler for one kind, with the words of the call."""
    handler = partial(call, kind)

    async def answer(request: web.Request) -> web.Response:
        return await handler(request)

    answer.__doc__ = call.__doc__
    return answer


ROUTES = (
    web.get(f"{PREFIX}backends", list_backends),
    web.get(f"{PREFIX}frontends", list_frontends),
    web.get(f"{PREFIX}backends/health", health),
    web.get(f"{PREFIX}backends/{ONE}/health", health_of_one),
    *(web.put(f"{PREFIX}{kind.value}", _of(create, kind)) for kind in Kind),
    *(web.get(f"{PREFIX}{kind.value}/{ONE}", _of(show_one, kind)) for kind in Kind),
    *(web.put(f"{PREFIX}{kind.value}/{ONE}", _of(replace, kind)) for kind in Kind),
    *(web.delete(f"{PREFIX}{kind.value}/{ONE}", _of(delete, kind)) for kind in Kind),
    web.get(f"{PREFIX}health", health),
    web.get(f"{PREFIX}tokens", list_tokens),
    web.put(f"{PREFIX}tokens/{ONE}", put_token),
    web.delete(f"{PREFIX}tokens/{ONE}", delete_token),
    web.get(f"{PREFIX}audit", list_audit),
)
