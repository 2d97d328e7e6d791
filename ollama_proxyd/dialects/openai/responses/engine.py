"""The Responses API as engines speak it: a client's own bytes there, and their events back."""

from collections.abc import Collection
from types import MappingProxyType

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.kept_responses import KeptResponses
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.dialects.base import Dialect, Encoder, Rendered, Stamps
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.openai.errors import render_error, stream_error
from ollama_proxyd.dialects.openai.responses import passing
from ollama_proxyd.dialects.openai.responses.decode import (
    EventDecoder,
    decode_answer,
    payloads,
    peek_answer,
    peek_stream,
)
from ollama_proxyd.dialects.openai.responses.dialect import PATH, Responses
from ollama_proxyd.dialects.openai.responses.encode import Ids, ResponseEncoder

_DATA = b"data:"
_JSON = (b"{", b"[")
_ENDS = b"mplete"
"""In `completed` and in `incomplete`."""


def _end_of_answer(frame: bytes) -> int | None:
    """The whole frame where it ends the response."""
    return len(frame) if peek_stream(frame, 0).complete else None


class NativeResponses(Dialect):
    """Server-sent events, whose data says what they are.

    base: where an engine's API begins. reads: the fields that the engine reads as clients mean them; requests with
    others are translated. None: all. has_own_ids: no two of its answers have one id, so that they can be kept.
    """

    api = Api.RESPONSES
    whole_type = "application/json"
    stream_type = "text/event-stream"
    prefix = PATH
    calls = MappingProxyType({PATH: lambda body, hints: Responses(KeptResponses()).parse(body, hints)})
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)
    frame_mark = _DATA
    frame_ends = sse.ENDS
    payloads = staticmethod(payloads)
    tail_blocks = 2
    named_in = "response"
    frames = staticmethod(sse.frames)
    framed = staticmethod(sse.named)
    is_comment = staticmethod(sse.is_comment)
    is_aside = staticmethod(lambda _: False)
    is_regular = staticmethod(sse.is_regular)
    closing = b""
    end_mark = _ENDS
    end_of_answer = staticmethod(_end_of_answer)
    stream_ending = staticmethod(peek_stream)
    answer_ending = staticmethod(peek_answer)
    answers_loads = False

    def __init__(self, base: str = "/v1", reads: Collection[str] | None = None, *, has_own_ids: bool = True) -> None:
        self.base = base
        self._reads = None if reads is None else frozenset(reads)
        self._has_own_ids = has_own_ids

    def takes(self, request: Request) -> bool:
        """Whether the engine reads all that the request says; the rest of an answer is asked for in other words."""
        if request.original is None or request.spoken is not None:
            return False
        fields = decode_fields(request.original)
        if not self._has_own_ids and bytes(fields.get("store", b"true")) != b"false":
            return False
        return self._reads is None or self._reads.issuperset(fields)

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:  # noqa: ARG002 - see base
        """An encoder for one answer, of which nothing is kept."""
        return ResponseEncoder(request, {}, Ids(stamps.new_id(), stamps.unix_s(), stamps.unix_s), None)

    def render(self, request: Request, model: str) -> Rendered:
        """The client's own bytes under the engine's own model name."""
        if request.original is None:
            raise ProxyError(ErrorKind.UNSUPPORTED, "requests of other APIs are not translated to Responses")
        fields = decode_fields(request.original)
        return Rendered(f"{self.base}/responses", with_model(request.original, fields, model))

    def echoes(self, asked: str, model: str) -> bool:
        """These engines put their own name for the model into a response."""
        return asked == model

    def is_stream(self, request: Request, content_type: str, start: bytes) -> bool:  # noqa: ARG002 - see base
        """As it begins: an object is a whole answer."""
        return not start.startswith(_JSON)

    def form(self, request: Request) -> Form:
        """Streams and whole answers differ."""
        return passing.EVENTS if request.stream else passing.RESPONSE

    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """An event's data line."""
        return sse.split_line(line)

    def decoder(self, request: Request) -> EventDecoder:  # noqa: ARG002 - see base
        """A decoder for one stream."""
        return EventDecoder()

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:  # noqa: ARG002 - see base
        """The events of a whole answer."""
        return decode_answer(body)
