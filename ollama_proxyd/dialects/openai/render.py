"""A request in the form that an OpenAI-style engine takes: the client's own bytes, or a translation by tables."""

from dataclasses import dataclass

import msgspec

from ollama_proxyd.core.requests import Api, Chat, Completion, Json, Request
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model
from ollama_proxyd.dialects.openai.flavors import flavor_named
from ollama_proxyd.dialects.openai.refusals import refuse_internal
from ollama_proxyd.dialects.openai.translate import (
    Translation,
    translate_chat,
    translate_completion,
    translate_embedding,
)

PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}
"""Where each endpoint is, under the engine's own prefix (/v1, /v3 …)."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What to POST, and the client's fields that the engine's API cannot express."""

    path: str
    body: bytes
    ignored_fields: tuple[str, ...] = ()


def render(request: Request, model: str, flavor: str = "generic") -> Rendered:
    """The request under the engine's own name of the model; raises INVALID_REQUEST or UNSUPPORTED."""
    if request.api is Api.OPENAI:
        fields = decode_fields(request.body)
        refuse_internal(fields)
        return Rendered(PATHS[request.endpoint], with_model(request.body, fields, model))
    translation = _translate(request, flavor)
    fields_out: dict[str, Json] = {"model": model, **translation.fields}
    if translation.endpoint != "embeddings":
        # Streamed even where the client wants one piece: engines notice that a client left only while they stream.
        fields_out["stream"] = True
        fields_out["stream_options"] = {"include_usage": True}
    return Rendered(PATHS[translation.endpoint], msgspec.json.encode(fields_out), translation.ignored_fields)


def _translate(request: Request, flavor: str) -> Translation:
    content = request.content()
    row = flavor_named(flavor)
    if isinstance(content, Chat):
        return translate_chat(content, row)
    if isinstance(content, Completion):
        return translate_completion(content, row)
    return translate_embedding(content, row)
