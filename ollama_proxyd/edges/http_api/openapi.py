"""The OpenAPI 3.1 document of all routes, from the routes and the structs that their bodies are read into."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web

from ollama_proxyd import __version__
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic import request as anthropic
from ollama_proxyd.dialects.ollama import request as ollama
from ollama_proxyd.dialects.openai import passed
from ollama_proxyd.dialects.openai import request as openai
from ollama_proxyd.dialects.openai.responses import request as responses
from ollama_proxyd.edges.http_api.efficiency import HoldRequest, ModeChoice
from ollama_proxyd.edges.http_api.engines import EngineChoice
from ollama_proxyd.edges.http_api.features import FlagChoice
from ollama_proxyd.edges.http_api.hints import REQUEST_ID_HEADER
from ollama_proxyd.edges.http_api.house import PairChoice, UnpairChoice
from ollama_proxyd.edges.http_api.model_loads import ModelChoice
from ollama_proxyd.edges.http_api.renderer import Text
from ollama_proxyd.edges.http_api.status import Switch
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS

VERSION = "3.1.0"
_EVENTS, _LINES, _FORM = "text/event-stream", "application/x-ndjson", "multipart/form-data"
_ANY: Mapping[str, Json] = {"type": "object"}


class Call(NamedTuple):
    """What a handler does not tell by itself: in words, what its body is read into, and how it answers."""

    summary: str
    body: tuple[type[msgspec.Struct], ...] = ()
    answers: tuple[str, ...] = (JSON_TYPE,)
    takes: str = JSON_TYPE


_SSE, _NDJSON, _BYTES = (JSON_TYPE, _EVENTS), (_LINES, JSON_TYPE), ("*/*",)
_PASSED = {
    path: Call(f"Passed on to an engine: {call.operation.value}.", answers=_BYTES)
    for path, call in passed.CALLS.items()
}
_FORMS = {
    path: Call(f"A form, passed on to an engine: {call.operation.value}.", answers=_BYTES, takes=_FORM)
    for path, call in passed.FORMS.items()
}
CALLS: Mapping[str, Call] = {
    "/v1/chat/completions": Call("A chat.", (openai.Head, openai.ChatBody), _SSE),
    "/v1/completions": Call("A completion.", (openai.Head, openai.CompletionBody), _SSE),
    "/v1/embeddings": Call("Embeddings.", (openai.Head, openai.EmbeddingBody)),
    "/v1/responses": Call("A response.", (responses.Body,), _SSE),
    "/v1/responses/compact": Call("A conversation summed up.", (responses.Body,)),
    "/v1/messages": Call("A message.", (anthropic.Body,), _SSE),
    "/v1/messages/count_tokens": Call("How many tokens a message has.", (anthropic.Body,)),
    "/api/chat": Call("A chat.", (ollama.ChatRequest,), _NDJSON),
    "/api/generate": Call("A completion.", (ollama.GenerateRequest,), _NDJSON),
    "/api/embed": Call("Embeddings.", (ollama.EmbedRequest,)),
    "/api/embeddings": Call("One embedding.", (ollama.EmbeddingsRequest,)),
    "/infer": Call("A completion in modeld's lines.", answers=_NDJSON),
    "/efficiency": Call("", (ModeChoice,)),
    "/efficiency/hold": Call("", (HoldRequest,), (_LINES,)),
    "/backends/{backend_id}": Call("", (Switch,)),
    "/api/features": Call("", (FlagChoice,)),
    "/house/pair": Call("", (PairChoice,), _NDJSON),
    "/house/unpair": Call("", (UnpairChoice,)),
    "/ui/render": Call("", (Text,)),
    "/engines/stop": Call("", (EngineChoice,)),
    "/models/load": Call("", (ModelChoice,), _NDJSON),
    "/models/switch": Call("", (ModelChoice,), _NDJSON),
    "/models/unload": Call("", (ModelChoice,)),
    **_PASSED,
    **_FORMS,
}
"""By path, of those that are posted to."""
_OTHER_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "/status/events": (_EVENTS,),
    "/metrics": ("text/plain",),
    "/healthz": ("text/plain",),
    "/readyz": ("text/plain",),
    "/engines/log": ("text/plain",),
    "/": ("text/plain",),
    "/docs": ("text/html",),
    "/api/metrics": _SSE,
}


@cache
def _schemas() -> tuple[Mapping[type[msgspec.Struct], Json], Json]:
    """The reference of each struct, and the schemas by name."""
    structs = list(dict.fromkeys(each for call in CALLS.values() for each in call.body))
    references, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return dict(zip(structs, references, strict=True)), schemas


def document(app: web.Application) -> dict[str, Json]:
    """The whole document."""
    paths: dict[str, dict[str, Json]] = {}
    for path, method, route in routes_of(app):
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, route)
    return {
        "openapi": VERSION,
        "info": {"title": "ollama-proxyd", "version": __version__},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas()[1],
            "parameters": {name: _header(name) for name in (*HEADERS.values(), REQUEST_ID_HEADER)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def routes_of(app: web.Application) -> Iterator[tuple[str, str, web.AbstractRoute]]:
    """Each route with its path as OpenAPI writes it; HEAD where it is no mere GET without a body."""
    for route in app.router.routes():
        if route.resource is None:
            continue
        methods = {each.method for each in route.resource}
        if route.method != hdrs.METH_HEAD or hdrs.METH_GET not in methods:
            yield route.resource.canonical.replace("{slashes}", ""), route.method, route


def _operation(path: str, method: str, route: web.AbstractRoute) -> dict[str, Json]:
    call = CALLS.get(path, CALLS.get(f"/v1{path}")) if method == hdrs.METH_POST else None
    answers = call.answers if call else _OTHER_ANSWERS.get(path, (JSON_TYPE,))
    told: dict[str, Json] = {
        "summary": (call and call.summary) or _words(route.handler),
        "parameters": [*_in_path(path), *(_hints() if call and call.summary else ())],
        "responses": {
            "200": {"description": "The answer.", "content": {kind: {} for kind in answers}},
            "default": {"description": "An error in the words of the API.", "content": {JSON_TYPE: {"schema": _ANY}}},
        },
    }
    if method in {hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_DELETE}:
        told["requestBody"] = {"content": {_takes(path, call): {"schema": _schema(call)}}}
    return told


def _takes(path: str, call: Call | None) -> str:
    if path.startswith("/api/blobs/"):
        return "application/octet-stream"
    return call.takes if call else JSON_TYPE


def _schema(call: Call | None) -> Mapping[str, Json]:
    parts = [_schemas()[0][each] for each in call.body] if call else []
    if not parts:
        return _ANY
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _words(handler: object) -> str:
    """The first line of what a handler says of itself."""
    told = inspect.getdoc(handler) if inspect.isfunction(handler) else None
    return told.partition("\n")[0] if told else "A file of the page."


def _in_path(path: str) -> Iterator[dict[str, Json]]:
    for part in path.split("{")[1:]:
        name = part.partition("}")[0]
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _hints() -> Iterator[dict[str, Json]]:
    for name in (*HEADERS.values(), REQUEST_ID_HEADER):
        yield {"$ref": f"#/components/parameters/{name}"}


def _header(name: str) -> dict[str, Json]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
