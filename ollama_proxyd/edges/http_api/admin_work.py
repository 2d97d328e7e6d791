"""The admin API over what goes on: the requests under way, and the models that backends hold or pull."""

from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from ollama_proxyd.core.administration import Role
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import check_keys
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.management import Management, holders, store
from ollama_proxyd.core.model_sync import PullAt
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.edges.http_api import catalog
from ollama_proxyd.edges.http_api.admin_callers import ONE, PREFIX, admin_of, who_asks
from ollama_proxyd.edges.http_api.context import SETTINGS, services_of
from ollama_proxyd.edges.http_api.management import Whole, ask_all, managing
from ollama_proxyd.edges.http_api.strict_json import json_reply
from ollama_proxyd.services.booking import Session
from ollama_proxyd.services.bundle import Services

MOST_NAME_CHARACTERS = 512


async def list_sessions(request: web.Request) -> web.Response:
    """The requests under way, the oldest first: who asks, where it is answered, since when; no word of it."""
    who_asks(request, Role.READ)
    return json_reply([_session(each) for each in services_of(request).gateway.booking.sessions])


async def show_session(request: web.Request) -> web.Response:
    """One request under way."""
    who_asks(request, Role.READ)
    return json_reply(_session(_named(request)[0]))


async def end_sessions(request: web.Request) -> web.Response:
    """End every request under way; each client is told that it was ended."""
    who = who_asks(request, Role.ADMIN)
    await admin_of(request).note(who, "end", "sessions", "all")
    return _ended(services_of(request).gateway.booking.sessions)


async def end_session(request: web.Request) -> web.Response:
    """End a request under way; its client is told that it was ended."""
    who, found = who_asks(request, Role.ADMIN), _named(request)
    await admin_of(request).note(who, "end", "sessions", request.match_info["name"])
    return _ended(found)


def _ended(sessions: Sequence[Session]) -> web.Response:
    return json_reply({"removedSessionCount": sum([each.end() for each in sessions])})


def _named(request: web.Request) -> list[Session]:
    """Those of a request id, which is the client's own where it gave one; raises ProxyError where there is none."""
    name = request.match_info["name"]
    sessions = services_of(request).gateway.booking.sessions
    if found := [each for each in sessions if each.trace.request.hints.request_id == name]:
        return found
    raise ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"no request {name[:100]!r} is under way", code="not_found")


def _session(session: Session) -> dict[str, Json]:
    trace, asked = session.trace, session.trace.request
    hints, now = asked.hints, trace.routed()
    return {
        "Identifier": hints.request_id,
        "Application": hints.asker.program.name or None,
        "Frontend": None if hints.frontend is None else hints.frontend.name,
        "Operation": asked.operation.value,
        "Model": asked.model,
        "Backend": trace.backend_id,
        "State": "waiting" if trace.backend_id is None else "asked" if trace.first_s is None else "answering",
        "SinceUnix": now.unix_s - trace.elapsed_s,
        "Seconds": trace.elapsed_s,
    }


async def list_models(request: web.Request) -> web.Response:
    """Every model with the backends that hold it, and what is being pulled."""
    who_asks(request, Role.READ)
    services = services_of(request)
    found = [
        {"Name": each.model.name, "Backends": list(each.backends)} for each in await catalog.models(services, None)
    ]
    return json_reply({"Models": found, "Pulls": _pulls(services)})


def _pulls(services: Services) -> list[Json]:
    return [
        {
            "Name": each.model,
            "Backend": each.backend,
            "State": each.state,
            "CompletedBytes": each.completed_bytes,
            "TotalBytes": each.total_bytes,
            "Reason": None if each.reason is None else str(each.reason),
        }
        for each in services.frontends.sync.status()
    ]


async def pull_model(request: web.Request) -> web.Response:
    """Have a backend pull a model, the one of ?backend= or the cheapest: 202, then see Pulls; 200 where it is there."""
    who, (name, backend) = who_asks(request, Role.ADMIN), _asked(request)
    services = services_of(request)
    await services.health.catch_up(0.0)
    ranked = [each.backend_id for each in services.gateway.explain(Query(model=None)).ranked]
    places = store(managing(services), name, (backend, request.app[SETTINGS].value.pull_to), ranked)
    (at,) = [PullAt(each, name) for each in places.backend_ids]
    told: dict[str, Json] = {"Name": name, "Backend": at.backend_id, "Why": places.why}
    if held(services.fleet.view(at.backend_id), Query(model=name)) is not None:
        return json_reply({**told, "State": "held"})
    await admin_of(request).note(who, "pull", "models", f"{name} at {at.backend_id}")
    services.frontends.sync.ask(at)
    return json_reply({**told, "State": "asked"}, HTTPStatus.ACCEPTED)


async def delete_model(request: web.Request) -> web.Response:
    """Have the backends that hold a model delete it, or the one of ?backend=, and ask for it no longer."""
    who, (name, backend) = who_asks(request, Role.ADMIN), _asked(request)
    services = services_of(request)
    await services.health.catch_up(0.0)
    sync, places = services.frontends.sync, holders(managing(services), name, backend)
    for each in places.backend_ids:
        if sync.requires(PullAt(each, name)):
            message = f"a front end requires {name} at {each}, so it would be pulled again; change required_models"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, code="in_use")
    withdrawn = [view.spec.id for view in _among(services, backend) if sync.withdraw(PullAt(view.spec.id, name))]
    is_held = any(held(services.fleet.view(each), Query(model=name)) is not None for each in places.backend_ids)
    asked_ids = () if withdrawn and not is_held else places.backend_ids
    where = ", ".join(dict.fromkeys((*withdrawn, *asked_ids)))
    await admin_of(request).note(who, "delete", "models", f"{name} at {where}")
    asked = Management("DELETE", "/api/delete", msgspec.json.encode({"model": name}))
    try:
        answers = await ask_all(services, asked, asked_ids)
    finally:
        await services.health.catch_up(0.0)
    for each, answer in zip(asked_ids, answers, strict=True):
        if answer.status >= HTTPStatus.BAD_REQUEST and not (answer.status == HTTPStatus.NOT_FOUND and withdrawn):
            raise _refused(each, answer)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _among(services: Services, backend: str | None) -> list[BackendView]:
    return [view for view in services.fleet.views.value if backend in {None, view.spec.id}]


def _refused(backend_id: str, answer: Whole) -> ProxyError:
    told = object_in(answer.body) or {}
    if answer.status == HTTPStatus.NOT_FOUND:
        return ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"{backend_id}: {told.get('error', 'it has no such model')}")
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{backend_id}: {told.get('error', f'status {answer.status}')}")


def _asked(request: web.Request) -> tuple[str, str | None]:
    check_keys(request.query, ("backend",))
    name = request.match_info["name"]
    if not name.isprintable() or len(name) > MOST_NAME_CHARACTERS:
        message = f"the name of a model has at most {MOST_NAME_CHARACTERS} printable characters"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message)
    return name, request.query.get("backend")


ROUTES = (
    web.get(f"{PREFIX}sessions", list_sessions),
    web.delete(f"{PREFIX}sessions", end_sessions),
    web.get(f"{PREFIX}sessions/{ONE}", show_session),
    web.delete(f"{PREFIX}sessions/{ONE}", end_session),
    web.get(f"{PREFIX}models", list_models),
    web.put(f"{PREFIX}models/{ONE}", pull_model),
    web.delete(f"{PREFIX}models/{ONE}", delete_model),
)
