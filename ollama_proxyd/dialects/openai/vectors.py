"""Reads the vectors of OpenAI-style engines, whichever form they have, and packs them for clients."""

import base64
import math
import struct
from collections.abc import Sequence

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Embedded, Event, Finished
from ollama_proxyd.core.requests import Embedding
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.reported import Report
from ollama_proxyd.dialects.openai.answer import WireUsage, usage_of
from ollama_proxyd.dialects.openai.errors import error_in_answer, not_openai

FLOAT_BYTES = 4


class WireVector(msgspec.Struct):
    """One vector: numbers, or float32 in little-endian order in base64."""

    embedding: list[float] | str
    index: int | None = None


class WireVectors(Report):
    """The answer to an embedding request."""

    data: list[WireVector] | None = None
    usage: WireUsage | None = None


_VECTORS = msgspec.json.Decoder(WireVectors)


def decode_embeddings(body: bytes, wanted: Embedding) -> list[Event]:
    """The vectors in the order of the inputs, cut and scaled as the client wants them."""
    answer = lenient.read(_VECTORS, body)
    if answer is None:
        raise not_openai()
    if (error := answer.reported) is not None:
        raise error_in_answer(error)
    found = sorted(answer.data or (), key=lambda vector: vector.index or 0)
    if len(found) != len(wanted.inputs):
        raise ProxyError(
            ErrorKind.UPSTREAM_FAILED, f"the backend sent {len(found)} vectors for {len(wanted.inputs)} inputs"
        )
    vectors = tuple(shaped(unpack(vector.embedding), wanted) for vector in found)
    usage = usage_of(answer.usage, None)
    return [Embedded(vectors), Finished() if usage is None else Finished(usage=usage)]


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


def unpack(packed: list[float] | str) -> Sequence[float]:
    """A vector, perhaps in OpenAI's base64 form; ProxyError(UPSTREAM_FAILED) when it is none."""
    if isinstance(packed, list):
        return packed
    try:
        data = base64.b64decode(packed, validate=True)
        return struct.unpack(f"<{len(data) // FLOAT_BYTES}f", data)
    except (ValueError, struct.error) as error:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent a vector that is not base64 floats") from error
