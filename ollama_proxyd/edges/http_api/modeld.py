"""The routes that modeld had: POST /infer, GET /models, and the instances of GET /status."""

from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Hints, Json, Operation, Request
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.openai.infer import PATH, Infer, model_of, parse
from ollama_proxyd.edges.http_api import catalog
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import FRONTEND, services_of
from ollama_proxyd.edges.http_api.streaming import answering_what
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE, json_reply
from ollama_proxyd.edges.plumbing.large import off_loop
from ollama_proxyd.services.bundle import Services

DIALECT = Infer()
_MB = 2**20


async def _ask(request: web.Request, hints: Hints) -> Request:
    """A request of which the model may be absent: then the one that routing finds best."""
    kind = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE:
        message = f"send Content-Type: {JSON_TYPE}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Content-Type", code="unsupported_media_type")
    body = await read_body(request)
    model = received(body, model_of) or _any_model(services_of(request), hints)
    return await off_loop(len(body), partial(received, body, lambda whole: parse(model, whole, hints)))


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


def instances(services: Services) -> list[Json]:
    """Each model in the memory of each backend that tells, and what is under way there."""
    last_s = {(each.backend_id, each.model): each.unix_s for each in services.ledger.recent()}
    return [
        {
            "model_id": loaded.name,
            "backend": view.spec.id,
            "state": _state(view),
            "last_used_unix": None if (used_s := last_s.get((view.spec.id, loaded.name))) is None else int(used_s),
            "est_vram_mb": None if (size := loaded.size_vram_bytes or loaded.size_bytes) is None else size // _MB,
            "queue_len": services.admission.waiting_for(view.spec.id, loaded.name),
            "inflight": sum(each.under_way.model == loaded.name for each in services.fleet.leases(view.spec.id)),
            "max_queue_depth": services.admission.max_length,
        }
        for view in services.fleet.views.value
        for loaded in view.loaded or ()
    ]


def _state(view: BackendView) -> str:
    if view.health is Health.DISABLED:
        return "draining"
    return "ready" if view.can_serve else "error"


INFERENCE = (web.post(PATH, answering_what(_ask, DIALECT)),)
ROUTES = (*INFERENCE, web.get("/models", list_models))
