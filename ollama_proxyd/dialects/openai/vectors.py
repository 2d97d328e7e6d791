"""Embeddings of OpenAI-style engines, and the shape that the client wants of them."""

import base64
import math
import struct
from collections.abc import Sequence

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Embedded, Event, Finished
from ollama_proxyd.core.requests import Embedding, Json
from ollama_proxyd.dialects.openai.failures import error_in_answer
from ollama_proxyd.dialects.openai.frames import WireUsage, decode_frame, usage_of

FLOAT_BYTES = 4


class WireVector(msgspec.Struct):
    """One vector: numbers, or float32 in little-endian order in base64."""

    embedding: list[float] | str
    index: int | None = None


class WireVectors(msgspec.Struct):
    """The answer to an embedding request."""

    data: list[WireVector] | None = None
    usage: WireUsage | None = None
    error: Json = None


_VECTORS = msgspec.json.Decoder(WireVectors)


def decode_embeddings(body: bytes, wanted: Embedding) -> list[Event]:
    """The vectors in the order of the inputs, cut and scaled as the client wants them."""
    answer = decode_frame(body, _VECTORS)
    if answer.error is not None:
        raise error_in_answer(answer.error)
    found = sorted(answer.data or (), key=lambda vector: vector.index or 0)
    if len(found) != len(wanted.inputs):
        raise ProxyError(
            ErrorKind.UPSTREAM_FAILED, f"the backend sent {len(found)} vectors for {len(wanted.inputs)} inputs"
        )
    vectors = tuple(shaped(_numbers(vector.embedding), wanted) for vector in found)
    usage = usage_of(answer.usage, None)
    return [Embedded(vectors), Finished() if usage is None else Finished(usage=usage)]


def _numbers(embedding: list[float] | str) -> Sequence[float]:
    return unpack(embedding) if isinstance(embedding, str) else embedding


def shaped(vector: Sequence[float], wanted: Embedding) -> tuple[float, ...]:
    """The vector cut to the dimensions asked for, and of unit length where that is wanted."""
    dimensions = wanted.options.known.get("dimensions")
    cut = tuple(vector[:dimensions]) if dimensions else tuple(vector)
    length = math.hypot(*cut)
    if not wanted.normalized or length == 0 or math.isclose(length, 1.0, rel_tol=1e-5):
        return cut
    return tuple(number / length for number in cut)


def pack(vector: Sequence[float]) -> str:
    """OpenAI's base64 form of a vector."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def unpack(packed: str) -> tuple[float, ...]:
    """A vector from OpenAI's base64 form; ProxyError(UPSTREAM_FAILED) when it is none."""
    try:
        data = base64.b64decode(packed, validate=True)
        return struct.unpack(f"<{len(data) // FLOAT_BYTES}f", data)
    except (ValueError, struct.error) as error:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent a vector that is not base64 floats") from error
