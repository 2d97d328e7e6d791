"""The routes of Ollama's own API."""

import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.model_names import resolve
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Api, Hints, Operation, Request
from ollama_proxyd.dialects.ollama import chat, embed, generate, models
from ollama_proxyd.dialects.ollama.encode import Encoder
from ollama_proxyd.dialects.ollama.errors import not_found
from ollama_proxyd.dialects.ollama.show import parse_show
from ollama_proxyd.edges.http_api import catalog, routing_headers
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import REQUEST_ID, SETTINGS, services_of
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.streaming import Types, deliver
from ollama_proxyd.edges.http_api.timestamps import rfc3339
from ollama_proxyd.services.bundle import Services

API_LEVEL = "0.33.0"
"""The version of Ollama whose API this is; clients compare it with the least that they need."""

TYPES = Types(whole="application/json; charset=utf-8", stream="application/x-ndjson")

Parse = Callable[[bytes, Hints], Request]


def answering(parse: Parse) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler: parse, call, render."""

    async def answer(request: web.Request) -> web.StreamResponse:
        begun_ns = time.monotonic_ns()
        hints = read_hints(request.headers, request[REQUEST_ID])
        asked = parse(await read_body(request, request.app[SETTINGS].value.max_body_bytes), hints)
        encoder = Encoder(asked, rfc3339, lambda: time.monotonic_ns() - begun_ns)
        try:
            return await deliver(request, services_of(request).gateway, asked, encoder, TYPES)
        except ProxyError as error:
            if error.kind is ErrorKind.MODEL_NOT_FOUND:
                raise not_found(asked.endpoint, asked.model, error) from error
            raise

    return answer


async def show(request: web.Request) -> web.Response:
    """A model's details, as the backend that holds it gives them."""
    hints = read_hints(request.headers, request[REQUEST_ID])
    name, fields = parse_show(await read_body(request, request.app[SETTINGS].value.max_body_bytes))
    services = services_of(request)
    try:
        backend_id = _holder(services, name, hints)
    except ProxyError as error:
        raise not_found("show", name, error) from error
    own_name = resolve(name, (model.name for model in services.fleet.view(backend_id).models)) or name
    details = await services.gateway.show(backend_id, own_name, fields)
    headers = routing_headers.unrouted(f"{backend_id} holds {name}", backend_id)
    return web.Response(body=msgspec.json.encode(details), headers={"Content-Type": TYPES.whole, **headers})


def _holder(services: Services, name: str, hints: Hints) -> str:
    """Who is asked about a model: the target, else a backend that keeps Ollama's own files, else the first."""
    if hints.target is None:
        holders = catalog.find(services, name).backends
        return min(holders, key=lambda each: services.fleet.view(each).spec.api is not Api.OLLAMA)
    query = Query(model=name, operation=Operation.EMBEDDING, hints=Hints(target=hints.target))
    decision = services.gateway.explain(query)
    if not decision.ranked:
        raise services.gateway.refusal(query, decision)
    return decision.ranked[0].backend_id


async def list_models(request: web.Request) -> web.Response:
    """Every model that can be had."""
    return _reply(models.render_tags(catalog.models(services_of(request))))


async def list_loaded(request: web.Request) -> web.Response:
    """Every model in memory."""
    return _reply(models.render_ps(catalog.loaded(services_of(request))))


async def version(_request: web.Request) -> web.Response:
    """The version of the API."""
    return _reply(models.render_version(API_LEVEL))


async def greet(_request: web.Request) -> web.Response:
    """What Ollama's clients look for to see that it is there."""
    return web.Response(text="Ollama is running")


def _reply(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": TYPES.whole})


ROUTES = (
    web.post("/api/chat", answering(chat.parse)),
    web.post("/api/generate", answering(generate.parse)),
    web.post("/api/embed", answering(embed.parse)),
    web.post("/api/embeddings", answering(embed.parse_legacy)),
    web.post("/api/show", show),
    web.get("/api/tags", list_models),
    web.get("/api/ps", list_loaded),
    web.get("/api/version", version),
    web.get("/", greet),
)
