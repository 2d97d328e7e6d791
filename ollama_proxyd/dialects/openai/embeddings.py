"""OpenAI's embeddings as they come from a client."""

from typing import Literal

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Embedding, Hints, Json, Operation, Request
from ollama_proxyd.dialects.framing.jsonbody import convert_typed, decode_object, decode_typed
from ollama_proxyd.dialects.openai.options import parse_options
from ollama_proxyd.dialects.openai.refusals import unsupported
from ollama_proxyd.dialects.openai.requests import STRUCTURAL, Head, request_of


class EmbeddingHead(Head):
    """What an embedding tells routing: the input is text, tokens, or a list of either."""

    input: str | list[msgspec.Raw] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class EmbeddingBody(msgspec.Struct):
    """The structure of an embedding; everything else in it is a setting."""

    input: str | list[Json]
    encoding_format: str | None = None


_HEAD = msgspec.json.Decoder(EmbeddingHead)
_STRUCTURE = STRUCTURAL.union(EmbeddingBody.__struct_fields__)


def parse(body: bytes, hints: Hints) -> Request:
    """The request for embeddings."""
    head = decode_typed(_HEAD, body)
    if head.input is None or head.input == []:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "invalid input")
    head.stream = False
    return request_of(head, body, hints, (Operation.EMBEDDING, "embeddings", parse_content))


def parse_content(body: bytes) -> Embedding:
    """The texts to embed, and how the vectors are wanted."""
    fields = decode_object(body)
    embedding = convert_typed(fields, EmbeddingBody)
    return Embedding(
        inputs=_texts(embedding.input),
        single=isinstance(embedding.input, str),
        base64=embedding.encoding_format == "base64",
        options=parse_options(fields, _STRUCTURE),
    )


def _texts(inputs: str | list[Json]) -> tuple[str, ...]:
    if isinstance(inputs, str):
        return (inputs,)
    if not all(isinstance(text, str) for text in inputs):
        raise unsupported("input", "lists of tokens cannot be translated for the chosen backend")
    return tuple(inputs)
