"""The routes of the OpenAI API."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from ollama_proxyd.core.requests import Hints, Request
from ollama_proxyd.dialects.openai import chat, completions, embeddings, models
from ollama_proxyd.dialects.openai.encode_chat import ChatEncoder
from ollama_proxyd.dialects.openai.encode_completion import CompletionEncoder
from ollama_proxyd.dialects.openai.encode_embedding import EmbeddingEncoder
from ollama_proxyd.edges.http_api import catalog
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import REQUEST_ID, SETTINGS, STARTED_AT, services_of
from ollama_proxyd.edges.http_api.hints import new_id, read_hints
from ollama_proxyd.edges.http_api.streaming import Encoder, Types, deliver
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE
from ollama_proxyd.edges.http_api.timestamps import unix_of, unix_s

TYPES = Types(whole=JSON_TYPE, stream="text/event-stream")

Parse = Callable[[bytes, Hints], Request]
MakeEncoder = Callable[[Request], Encoder]


def answering(parse: Parse, make_encoder: MakeEncoder) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler: parse, call, render."""

    async def answer(request: web.Request) -> web.StreamResponse:
        hints = read_hints(request.headers, request[REQUEST_ID])
        asked = parse(await read_body(request, request.app[SETTINGS].value.max_body_bytes), hints)
        return await deliver(request, services_of(request).gateway, asked, make_encoder(asked), TYPES)

    return answer


async def list_models(request: web.Request) -> web.Response:
    """Every model that can be had."""
    rows = [_row(request, entry) for entry in catalog.models(services_of(request))]
    return web.Response(body=models.render_list(rows), headers={"Content-Type": JSON_TYPE})


async def show_model(request: web.Request) -> web.Response:
    """One model."""
    entry = catalog.find(services_of(request), request.match_info["name"])
    return web.Response(body=models.render_one(_row(request, entry)), headers={"Content-Type": JSON_TYPE})


def _row(request: web.Request, entry: catalog.Entry) -> models.ModelRow:
    """OpenAI wants to know when a model was made; where nobody says, it is the time since when it is offered."""
    made_at = unix_of(entry.model.modified_at)
    return entry.model.name, made_at or request.app[STARTED_AT], entry.backends


ROUTES = (
    web.post("/v1/chat/completions", answering(chat.parse, lambda asked: ChatEncoder(asked, unix_s(), new_id()))),
    web.post(
        "/v1/completions",
        answering(completions.parse, lambda asked: CompletionEncoder(asked, unix_s(), new_id())),
    ),
    web.post("/v1/embeddings", answering(embeddings.parse, EmbeddingEncoder)),
    web.get("/v1/models", list_models),
    web.get("/v1/models/{name:.+}", show_model),
)
