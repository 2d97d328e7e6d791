"""The routes that modeld had: POST /infer, GET /models, and the instances of GET /status."""

from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.core.engine_instances import Instance, Phase
from ollama_proxyd.core.errors import MODEL_REQUIRED, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Hints, Json, Operation, Request
from ollama_proxyd.dialects.base import Parse
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.openai.infer import PATH, Infer, parse
from ollama_proxyd.edges.http_api import catalog
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import FRONTEND, services_of
from ollama_proxyd.edges.http_api.frontends import parsing
from ollama_proxyd.edges.http_api.streaming import answering_what
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE, json_reply
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.large import off_loop

DIALECT = Infer()
_MB = 2**20


async def _ask(request: web.Request, hints: Hints) -> Request:
    """A request of which the model may be absent: then the one that routing finds best."""
    kind = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE:
        message = f"send Content-Type: {JSON_TYPE}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Content-Type", code="unsupported_media_type")
    body = await read_body(request)
    try:
        return await _parsed(request, body, parse, hints)
    except ProxyError as error:
        if error.code != MODEL_REQUIRED:
            raise
    found = _any_model(services_of(request), hints)
    return await _parsed(request, body, partial(parse, any_model=found), hints)


async def _parsed(request: web.Request, body: bytes, read: Parse, hints: Hints) -> Request:
    return await off_loop(len(body), partial(received, body, parsing(request, DIALECT, read, hints)))


def _any_model(services: Services, hints: Hints) -> str:
    query = Query(model=None, operation=Operation.COMPLETION, hints=hints)
    decision = services.gateway.explain(query)
    if not decision.ranked:
        raise services.gateway.refusal(query, decision)
    return decision.ranked[0].model


async def list_models(request: web.Request) -> web.Response:
    """Every model that can be had; where its file is, no backend tells."""
    return json_reply(
        {
            "models": [
                {
                    "id": entry.model.name,
                    "name": entry.model.name,
                    "path": None,
                    "quant": entry.model.quantization,
                    "family": entry.model.family,
                    "backends": list(entry.backends),
                }
                for entry in await catalog.models(services_of(request), request.get(FRONTEND))
            ]
        }
    )


def manager(services: Services, uptime_s: int) -> dict[str, Json]:
    """Modeld's part of the status: how all of it stands, and each model in memory or on its way there."""
    told = instances(services)
    can_serve = any(view.can_serve for view in services.fleet.views.value)
    is_loading = any(each["state"] == "loading" for each in told)
    pool = services.pool()
    ended = [] if pool is None else sorted(pool.ends, key=lambda each: each.at_unix_s)
    return {
        "instances": list(told),
        "state": "error" if not can_serve else "loading" if is_loading else "ready",
        "last_error": str(ended[-1].reason) if ended else None,
        "uptime_seconds": uptime_s,
        "server_time_unix": int(services.clock.unix()),
    }


def instances(services: Services) -> list[dict[str, Json]]:
    """Each model in the memory of each backend that tells, or on its way there, and what is under way with it."""
    last_s = {(each.backend_id, each.model): each.unix_s for each in services.ledger.recent()}
    pool = services.pool()
    ours = {} if pool is None else {(each.backend_id, each.model): each for each in pool.instances}
    views = {view.spec.id: view for view in services.fleet.views.value}
    sizes: dict[tuple[str, str], int | None] = {at: int(max(each.needs.values())) for at, each in ours.items()}
    for view in views.values():
        sizes |= {(view.spec.id, each.name): each.size_vram_bytes or each.size_bytes for each in view.loaded or ()}
    return [
        {
            "model_id": model,
            "backend": backend_id,
            "state": _state(views[backend_id], ours.get((backend_id, model))),
            "last_used_unix": None if (used_s := last_s.get((backend_id, model))) is None else int(used_s),
            "est_vram_mb": None if size is None else size // _MB,
            "queue_len": services.admission.waiting_for(backend_id, model),
            "inflight": sum(each.under_way.model == model for each in services.fleet.leases(backend_id)),
            "max_queue_depth": services.admission.most_of_a_model,
            "port": (own.address.port or None) if (own := ours.get((backend_id, model))) is not None else None,
            "pid": own.pid if own is not None else None,
        }
        for (backend_id, model), size in sizes.items()
        if backend_id in views
    ]


_STATES = {Phase.WAITING: "loading", Phase.LOADING: "loading", Phase.DRAINING: "draining", Phase.STOPPING: "draining"}
"""In modeld's words."""


def _state(view: BackendView, own: Instance | None) -> str:
    if own is not None and own.phase in _STATES:
        return _STATES[own.phase]
    if view.health is Health.DISABLED:
        return "draining"
    return "ready" if view.can_serve else "error"


INFERENCE = (web.post(PATH, answering_what(_ask, DIALECT)),)
ROUTES = (*INFERENCE, web.get("/models", list_models))
