"""The routes of Ollama's own API."""

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Api, Hints, Operation
from ollama_proxyd.core.text import LARGE_BYTES
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.errors import not_found
from ollama_proxyd.dialects.ollama.models import completed, parse_show, render_ps, render_tags, render_version
from ollama_proxyd.edges.http_api import catalog, routing_headers
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, services_of
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.streaming import answering
from ollama_proxyd.edges.plumbing.surface_json import escaped
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.large import off_loop

API_LEVEL = "0.33.0"
"""The version of Ollama whose API this is; clients compare it with the least that they need."""

DIALECT = Ollama()


async def show(request: web.Request) -> web.Response:
    """A model's details, as the backend that holds it gives them."""
    hints = read_hints(request.headers, request[REQUEST_ID], frontend=request.get(FRONTEND))
    name, fields = received(await read_body(request), parse_show)
    services = services_of(request)
    try:
        backend_id = await _holder(services, name, hints)
    except ProxyError as error:
        raise not_found("show", name, error) from error
    query = Query(model=name, synonyms=services.gateway.synonyms.of(name), hints=hints)
    known = held(services.fleet.view(backend_id), query)
    own_name = known.name if known else name
    details = await services.gateway.show(backend_id, own_name, fields)
    headers = routing_headers.unrouted(f"{backend_id} holds {name}", backend_id)
    size = LARGE_BYTES if fields.get("verbose") else 0  # then it has all words of the tokenizer
    body = await off_loop(size, lambda: escaped(msgspec.json.encode(completed(details))))
    return web.Response(body=body, headers={"Content-Type": DIALECT.whole_type, **headers})


async def _holder(services: Services, name: str, hints: Hints) -> str:
    """Who is asked about a model: the target, else a backend that keeps Ollama's own files, else the first."""
    if hints.target is None:
        holders = (await catalog.find(services, name, hints.frontend)).backends
        return min(holders, key=lambda each: services.fleet.view(each).spec.api is not Api.OLLAMA)
    query = Query(model=name, operation=Operation.EMBEDDING, hints=Hints(target=hints.target, frontend=hints.frontend))
    decision = services.gateway.explain(query)
    if not decision.ranked:
        raise services.gateway.refusal(query, decision)
    return decision.ranked[0].backend_id


async def list_models(request: web.Request) -> web.Response:
    """Every model that can be had."""
    return _reply(render_tags(await catalog.models(services_of(request), request.get(FRONTEND))))


async def list_loaded(request: web.Request) -> web.Response:
    """Every model in memory."""
    return _reply(render_ps(await catalog.loaded(services_of(request), request.get(FRONTEND))))


async def version(_request: web.Request) -> web.Response:
    """The version of the API."""
    return _reply(render_version(API_LEVEL))


def _reply(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": DIALECT.whole_type})


INFERENCE = tuple(web.post(path, answering(DIALECT, parse)) for path, parse in DIALECT.calls.items())
ROUTES = (
    *INFERENCE,
    web.post("/api/show", show),
    web.get("/api/tags", list_models),
    web.get("/api/ps", list_loaded),
    web.get("/api/version", version),
)
