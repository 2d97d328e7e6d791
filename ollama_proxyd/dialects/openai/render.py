"""A request in the form that an OpenAI-style engine takes: the client's own bytes, or a translation by tables."""

import msgspec

from ollama_proxyd.core.requests import Api, Chat, Completion, Json, Request
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model
from ollama_proxyd.dialects.openai.quirks import GENERIC, Quirks
from ollama_proxyd.dialects.openai.refusals import refuse_internal
from ollama_proxyd.dialects.openai.translate import (
    Translation,
    translate_chat,
    translate_completion,
    translate_embedding,
)

PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}
"""Where each endpoint is, under the engine's own prefix (/v1, /v3 …)."""


def render(request: Request, model: str, base: str = "/v1", quirks: Quirks = GENERIC) -> Rendered:
    """The request under the engine's own name of the model; raises INVALID_REQUEST or UNSUPPORTED."""
    if request.api is Api.OPENAI:
        fields = decode_fields(request.body)
        refuse_internal(fields)
        return Rendered(base + PATHS[request.endpoint], with_model(request.body, fields, model))
    translation = _translate(request, quirks)
    fields_out: dict[str, Json] = {"model": model, **translation.fields}
    if translation.endpoint != "embeddings":
        # Streamed even where the client wants one piece: engines notice that a client left only while they stream.
        fields_out["stream"] = True
        fields_out["stream_options"] = {"include_usage": True}
    return Rendered(base + PATHS[translation.endpoint], msgspec.json.encode(fields_out), translation.ignored_fields)


def _translate(request: Request, quirks: Quirks) -> Translation:
    content = request.content()
    if isinstance(content, Chat):
        return translate_chat(content, quirks)
    if isinstance(content, Completion):
        return translate_completion(content, quirks)
    return translate_embedding(content, quirks)
