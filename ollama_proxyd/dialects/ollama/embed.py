"""Reads /api/embed requests and the older /api/embeddings."""

from collections.abc import Callable
from functools import partial

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Api, Embedding, Hints, Json, LoadAction, Operation, Request
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.ollama import settings
from ollama_proxyd.dialects.ollama.bodies import decode, refusal

_CANONICAL_FIELDS = ("keep_alive", "truncate", "dimensions")


class _Embed(msgspec.Struct):
    model: str | None = None
    input: Json = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: Json = None
    options: dict[str, Json] | None = None


class _Embeddings(msgspec.Struct):
    model: str | None = None
    prompt: str | None = None
    keep_alive: Json = None
    options: dict[str, Json] | None = None


_EMBED = msgspec.json.Decoder(_Embed)
_EMBEDDINGS = msgspec.json.Decoder(_Embeddings)


def parse(body: bytes, hints: Hints) -> Request:
    """A request of /api/embed: one text or several, vectors of unit length."""
    read = decode(body, _EMBED, "EmbedRequest")
    settings.keep_alive_s(read.keep_alive)
    if not read.model:
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, "model '' not found", param="model")
    inputs = _inputs(read.input)
    settings.check_options(read.options)
    content = partial(_content, body, read, inputs, single=isinstance(read.input, str), normalized=True)
    return _request("embed", read.model, body, content, hints, empty=not inputs)


def parse_legacy(body: bytes, hints: Hints) -> Request:
    """A request of /api/embeddings: one prompt, a vector as the model gives it."""
    read = decode(body, _EMBEDDINGS, "EmbeddingRequest")
    settings.keep_alive_s(read.keep_alive)
    if not read.model:
        raise refusal("model is required", "model")
    settings.check_options(read.options)
    inputs = _inputs(read.prompt)
    content = partial(_content, body, read, inputs, single=True, normalized=False)
    return _request("embeddings", read.model, body, content, hints, empty=not inputs)


def _request(
    endpoint: str, model: str, body: bytes, content: Callable[[], Embedding], hints: Hints, *, empty: bool
) -> Request:
    return Request(
        operation=Operation.EMBEDDING,
        api=Api.OLLAMA,
        endpoint=endpoint,
        model=model,
        stream=False,
        body=body,
        content=content,
        hints=hints,
        prompt_tokens=len(body) // 4,
        load_action=LoadAction.LOAD if empty else None,
    )


def _inputs(given: Json) -> tuple[str, ...]:
    if given is None or given == "":
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    raise refusal("invalid input type", "input")


def _content(
    body: bytes, read: _Embed | _Embeddings, inputs: tuple[str, ...], *, single: bool, normalized: bool
) -> Embedding:
    return Embedding(
        inputs=inputs,
        single=single,
        normalized=normalized,
        options=settings.read_options(
            read.options,
            decode_fields(body),
            canonical=set(_CANONICAL_FIELDS) & set(read.__struct_fields__),
            read=read.__struct_fields__,
        ),
    )
