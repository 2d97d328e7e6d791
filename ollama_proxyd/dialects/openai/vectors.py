"""Reads the vectors of OpenAI-style engines, whichever form they have, and packs them for clients."""

import base64
import math
import struct
from collections.abc import Mapping, Sequence

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Embedded, Event, Finished
from ollama_proxyd.core.requests import Api, Content, Embedding, Json, Request
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.framing.reported import Report
from ollama_proxyd.dialects.framing.vectors import NO_VECTOR, is_vector, vector_in
from ollama_proxyd.dialects.openai.answer import WireUsage, usage_of
from ollama_proxyd.dialects.openai.errors import error_in_answer, not_openai
from ollama_proxyd.dialects.openai.passing import Vectors
from ollama_proxyd.dialects.openai.request import EmbeddingHead

FLOAT_BYTES = 4

_HEAD = msgspec.json.Decoder(EmbeddingHead)
_TEXT = msgspec.json.Decoder(str)
_QUOTE = b'"'
_IN_NUMBERS = (b"-", *(b"%d" % digit for digit in range(10)))


def asked_in(request: Request) -> Content:
    """What is asked for; of a client of this API, whose inputs may be tokens, their number and the form alone."""
    head = readable(_HEAD, request.body) if request.api is Api.OPENAI else None
    if head is None:
        return request.content()
    given = head.input
    # tokens make one input, also with words among them, as llama-server takes it
    inputs = 1 if not isinstance(given, list) or any(bytes(each)[:1] in _IN_NUMBERS for each in given) else len(given)
    return Embedding(("",) * inputs, inputs == 1, normalized=False, base64=head.encoding_format == "base64")


class PassedVectors(Form):
    """One vector for each input, in the form that was asked for; others are read, and written anew."""

    def __init__(self, request: Request) -> None:
        super().__init__(Vectors, ("data",))
        self._request = request

    def is_strict(self, payload: bytes) -> bool:
        """Whether every client reads the vectors, and those that go by their numbers give each to its input."""
        found, asked = readable(_PASSED, payload), asked_in(self._request)
        if found is None or not isinstance(asked, Embedding) or len(found.data) != len(asked.inputs):
            return False
        if sorted(each.index for each in found.data) != list(range(len(found.data))):
            return False
        fits = _is_packed if asked.base64 else is_vector
        return lenient.is_utf8(payload) and all(fits(each.embedding) for each in found.data)

    def mended(self, payload: bytes, known: Mapping[str, Json]) -> bytes | None:  # noqa: ARG002 - see Form
        """Nothing: what is odd is read as for clients of other APIs."""
        return None


_PASSED = msgspec.json.Decoder(Vectors)


def _is_packed(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == _QUOTE


class WireVector(msgspec.Struct):
    """One vector: numbers, or float32 in little-endian order in base64."""

    embedding: msgspec.Raw
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
    vectors = tuple(shaped(_numbers(vector.embedding), wanted) for vector in found)
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


def unpack(packed: str) -> Sequence[float]:
    """A vector in OpenAI's base64 form; ProxyError(UPSTREAM_FAILED) when it is none."""
    try:
        data = base64.b64decode(packed, validate=True)
        return struct.unpack(f"<{len(data) // FLOAT_BYTES}f", data)
    except (ValueError, struct.error) as error:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent a vector that is not base64 floats") from error


def _numbers(raw: msgspec.Raw) -> Sequence[float]:
    """The vector in either form; ProxyError(UPSTREAM_FAILED) when it is none."""
    packed = readable(_TEXT, raw)
    vector = vector_in(raw) if packed is None else unpack(packed)
    if not vector:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, NO_VECTOR)
    return vector
