"""OpenAI's API as one dialect."""

from collections.abc import Mapping
from types import MappingProxyType

from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Api, Embedding, Operation, Request
from ollama_proxyd.dialects.base import Dialect, Encoder, Rendered, Stamps
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.framing.passing import WHOLE_CALLS, Form, PassedCalls
from ollama_proxyd.dialects.framing.sse import DONE, ENDS, end_of_answer, events, framed, frames
from ollama_proxyd.dialects.openai import passing, passing_calls
from ollama_proxyd.dialects.openai.decode import TextDecoder, decode_answer, top_logprobs_of
from ollama_proxyd.dialects.openai.encode import ChatEncoder, CompletionEncoder, EmbeddingEncoder
from ollama_proxyd.dialects.openai.ending import peek_answer, peek_usage
from ollama_proxyd.dialects.openai.errors import render_error, stream_error
from ollama_proxyd.dialects.openai.options import PLACES
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_completion, parse_embedding
from ollama_proxyd.dialects.openai.quirks import GENERIC, Quirks
from ollama_proxyd.dialects.openai.render import render
from ollama_proxyd.dialects.openai.vectors import PassedVectors, asked_in, decode_embeddings

_DATA = b"data:"
_JSON = (b"{", b"[")
_FIELDS = tuple(name[:1] for name in (b"data", b"event", b"id", b"retry", b"error", b":", b"Data", b"Event"))
"""How a stream's first field can begin; error: is llama-server's own."""


class OpenAI(Dialect):
    """Server-sent events.

    base: where an engine's API begins. quirks: how the engine differs. only: where it speaks this dialect beside its
    own, the endpoints, and the fields that it reads at each.
    """

    api = Api.OPENAI
    whole_type = "application/json"
    stream_type = "text/event-stream"
    prefix = "/v1/"
    calls = MappingProxyType(
        {
            "/v1/chat/completions": parse_chat,
            "/v1/completions": parse_completion,
            "/v1/embeddings": parse_embedding,
        }
    )
    option_places = PLACES
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)
    frame_mark = _DATA
    frame_ends = ENDS
    payloads = staticmethod(events)
    tail_blocks = 4  # a finish reason, the usage and [DONE] may each come alone
    frames = staticmethod(frames)
    framed = staticmethod(framed)
    is_comment = staticmethod(sse.is_comment)
    is_aside = staticmethod(sse.is_aside)
    is_regular = staticmethod(sse.is_regular)
    closing = framed(DONE)
    end_mark = DONE
    end_of_answer = staticmethod(end_of_answer)
    stream_ending = staticmethod(peek_usage)
    answer_ending = staticmethod(peek_answer)
    answers_loads = False

    def __init__(
        self, base: str = "/v1", quirks: Quirks = GENERIC, only: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self.base = base
        self.quirks = quirks
        self._only = only

    def takes(self, request: Request) -> bool:
        """All requests, or `only` those of some endpoints, by the fields that the engine reads there."""
        if self._only is None:
            return True
        read = self._only.get(request.endpoint)
        return read is not None and read.issuperset(decode_fields(request.body))

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:  # noqa: ARG002 - see base
        """An encoder for one answer."""
        if request.operation is Operation.CHAT:
            return ChatEncoder(request, stamps.unix_s(), stamps.new_id())
        if request.operation is Operation.COMPLETION:
            return CompletionEncoder(request, stamps.unix_s(), stamps.new_id())
        return EmbeddingEncoder(request)

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the engine's own model name."""
        return render(request, model, self.base, self.quirks)

    def echoes(self, asked: str, model: str) -> bool:
        """These engines put their own name for the model into every frame."""
        return asked == model

    def is_stream(self, request: Request, content_type: str, start: bytes) -> bool:  # noqa: ARG002 - see base
        """As it begins: some engines answer whole although a stream was asked for, or name another type."""
        first = start[:1]
        return first in _FIELDS if first in _FIELDS or first in _JSON else content_type == self.stream_type

    def form(self, request: Request) -> Form:
        """Streams and whole answers differ."""
        if request.operation is Operation.EMBEDDING:
            return PassedVectors(request)
        chat, text = (passing.CHUNKS, passing.TEXTS) if request.stream else (passing.CHAT, passing.TEXT)
        return chat if request.operation is Operation.CHAT else text

    def passed_calls(self, request: Request) -> PassedCalls:
        """Clients of chats put pieces of calls together by their indexes, which engines write in many ways."""
        if request.operation is not Operation.CHAT:
            return WHOLE_CALLS
        return passing_calls.PassedCalls(request.hints.request_id, has_tools=request.needs_tools)

    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """An event's data line, or a line of a whole answer."""
        return sse.split_line(line)

    def decoder(self, request: Request) -> TextDecoder:
        """A decoder; usage comes after the finish reason, so only the end of the stream is the end."""
        return TextDecoder(_top_logprobs(request))

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of a whole answer."""
        if request.operation is Operation.EMBEDDING and isinstance(asked := asked_in(request), Embedding):
            return decode_embeddings(body, asked)
        return decode_answer(body, _top_logprobs(request))


def _top_logprobs(request: Request) -> int | None:
    """How many alternatives to keep: all where the engine read the client's own words."""
    return None if request.api is Api.OPENAI else top_logprobs_of(request.content())
