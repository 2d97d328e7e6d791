"""Calls that go to engines as they came, and come back so: reranking, infill, sound and images."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Usage
from ollama_proxyd.core.fields import LONGEST_TEXT
from ollama_proxyd.core.requests import Api, Hints, Json, Operation, Request
from ollama_proxyd.core.upload import Upload
from ollama_proxyd.dialects.base import ClientDialect, Encoder, Stamps
from ollama_proxyd.dialects.framing import form, lenient
from ollama_proxyd.dialects.framing.jsonbody import decode_typed, invalid_request, model_required
from ollama_proxyd.dialects.framing.limits import ModelName
from ollama_proxyd.dialects.framing.numbers import token_count
from ollama_proxyd.dialects.framing.placing import Places
from ollama_proxyd.dialects.framing.reported import Report
from ollama_proxyd.dialects.openai.errors import error_in_answer, not_openai, render_error, stream_error
from ollama_proxyd.dialects.openai.options import PLACES

BYTES_PER_TOKEN = 4
SOUND_BYTES_PER_TOKEN = 320
"""Of compressed speech, of which a second is about 16 kB and 50 tokens."""


class Call(NamedTuple):
    """One call: what it asks for, and its path under the base of an engine's API, or from its root by a slash."""

    operation: Operation
    endpoint: str
    streams: bool = False
    """Whether its answer is sent on as it comes whatever the request says."""


_ANYTHING = msgspec.json.Decoder[Json](Any)
_REPORT = msgspec.json.Decoder(Report)
_RERANK = Call(Operation.RERANKING, "rerank")
CALLS: Mapping[str, Call] = MappingProxyType(
    {
        "/v1/rerank": _RERANK,
        "/v1/reranking": _RERANK,
        "/rerank": _RERANK,
        "/reranking": _RERANK,
        "/infill": Call(Operation.INFILL, "/infill"),
        "/v1/audio/speech": Call(Operation.SPEECH, "audio/speech", streams=True),
        "/v1/images/generations": Call(Operation.IMAGE, "images/generations"),
    }
)
"""Those with a body in JSON."""
FORMS: Mapping[str, Call] = MappingProxyType(
    {
        "/v1/audio/transcriptions": Call(Operation.TRANSCRIPTION, "audio/transcriptions"),
        "/v1/audio/translations": Call(Operation.TRANSLATION, "audio/translations"),
        "/v1/images/edits": Call(Operation.IMAGE, "images/edits"),
        "/v1/images/variations": Call(Operation.IMAGE, "images/variations"),
    }
)
"""Those with a form."""
_SOUND: Places = {"temperature": ("temperature",)}
OPTIONS: Mapping[Operation, Places] = MappingProxyType(
    {
        Operation.INFILL: {**PLACES, "max_tokens": PLACES["max_tokens"][::-1]},
        Operation.IMAGE: {"n": ("n",), "user": ("user",)},
        Operation.TRANSCRIPTION: _SOUND,
        Operation.TRANSLATION: _SOUND,
    }
)
"""Where they have canonical options beside the model."""


class _Head(msgspec.Struct):
    model: ModelName | None = None
    stream: bool | None = None


_HEAD = msgspec.json.Decoder(_Head)


def parse(call: Call, body: bytes, hints: Hints) -> Request:
    """The request of a body in JSON; raises ProxyError."""
    head = decode_typed(_HEAD, body)
    tokens = len(body) // BYTES_PER_TOKEN
    return _request(call, (head.model, bool(head.stream)), hints, tokens, body=body)


def parse_form(call: Call, content_type: str, body: bytearray, hints: Hints) -> Request:
    """The request of a form; raises ProxyError."""
    found = form.places(body, content_type, ("model", "stream"))
    model, stream = (form.value_at(body, found.get(name), name) for name in ("model", "stream"))
    if model is not None and len(model) > LONGEST_TEXT:
        raise invalid_request(f"model is longer than {LONGEST_TEXT} characters", "model")
    upload = Upload(body, content_type, found.get("model", slice(0)))
    head = (model, (stream or "").strip().lower() in {"true", "1"})
    return _request(call, head, hints, len(body) // SOUND_BYTES_PER_TOKEN, upload=upload)


def _request(
    call: Call,
    head: tuple[str | None, bool],
    hints: Hints,
    tokens: int,
    *,
    body: bytes = b"",
    upload: Upload | None = None,
) -> Request:
    model, stream = head
    if not model:
        raise model_required()
    return Request(
        operation=call.operation,
        api=Api.OPENAI,
        endpoint=call.endpoint,
        model=model,
        stream=stream or call.streams,
        body=body,
        content=_untranslatable,
        hints=hints,
        prompt_tokens=max(1, tokens),
        upload=upload,
    )


def _untranslatable() -> NoReturn:
    raise ProxyError(ErrorKind.UNSUPPORTED, "this call is passed on as it is, and cannot be translated")


class Passed(ClientDialect):
    """Whatever an engine says; errors are OpenAI's. call: whose options it has; None: the model alone."""

    api = Api.OPENAI
    whole_type = "application/json"
    stream_type = "text/event-stream"
    prefix = "/v1/"
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)

    def __init__(self, call: Call | None = None) -> None:
        self.option_places = {"model": ("model",), **(OPTIONS.get(call.operation, {}) if call else {})}

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:  # noqa: ARG002 - see base
        """An encoder that has nothing to add."""
        return _Silent()


class _Silent:
    def encode(self, event: Event) -> bytes:  # noqa: ARG002 - see base
        """Nothing."""
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:  # noqa: ARG002 - see base
        """An empty answer."""
        return b""

    def follow(self, block: bytes) -> None:
        """Nothing goes on elsewhere."""


_ANSWERS = ("results", "data", "text", "content", "choices", "segments", "images", "audio")
"""What calls that pass are answered with: beside it a warning is no failure."""


def usage_in(body: bytes) -> Usage:
    """What an answer in JSON tells of its tokens, under either of the names that engines use.

    Raises UPSTREAM_FAILED for what is no answer: torn, an error in a 200, or neither an object nor a list of them, with
    which text-embeddings-inference answers /rerank.
    """
    told = lenient.read(_ANYTHING, body)
    if isinstance(told, list) and all(isinstance(each, Mapping) for each in told):
        return Usage()
    if not isinstance(told, Mapping):
        raise not_openai()
    report = None if any(told.get(name) for name in _ANSWERS) else lenient.read(_REPORT, body)
    if report is not None and (error := report.reported) is not None:
        raise error_in_answer(error)
    usage: Json = told.get("usage")
    if not isinstance(usage, Mapping):
        return Usage()
    read: Callable[[str], int | None] = lambda name: token_count(usage.get(name))  # noqa: E731
    prompt, written = read("prompt_tokens"), read("completion_tokens")
    return Usage(
        read("input_tokens") if prompt is None else prompt, read("output_tokens") if written is None else written
    )
