"""Ollama's API as one dialect."""

import secrets
from types import MappingProxyType

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import Api, Completion, Embedding, Operation, Request
from ollama_proxyd.dialects.base import Dialect, Rendered, Stamps
from ollama_proxyd.dialects.framing.ndjson import ENDS, LineSplitter, framed, frames, lines
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.ollama.decode import (
    END_MARK,
    LineDecoder,
    decode_answer,
    decode_vectors,
    end_of_answer,
    peek_answer,
    peek_usage,
)
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.errors import not_found, render_error, stream_error
from ollama_proxyd.dialects.ollama.options import PLACES
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate
from ollama_proxyd.dialects.ollama.passing import FORMS, WHOLE_FORMS, PassedVectors
from ollama_proxyd.dialects.ollama.render import render


class Ollama(Dialect):
    """NDJSON lines, each an object; the last one is done."""

    api = Api.OLLAMA
    whole_type = "application/json; charset=utf-8"
    stream_type = "application/x-ndjson"
    prefix = "/api/"
    calls = MappingProxyType(
        {
            "/api/chat": parse_chat,
            "/api/generate": parse_generate,
            "/api/embed": parse_embed,
            "/api/embeddings": parse_embeddings,
        }
    )
    option_places = PLACES
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)
    frame_mark = b"\n"
    frame_ends = ENDS
    payloads = staticmethod(lines)
    frames = staticmethod(frames)
    framed = staticmethod(framed)
    is_comment = is_aside = staticmethod(lambda _: False)
    is_regular = staticmethod(lambda _: True)
    closing = b""
    end_mark = END_MARK
    end_of_answer = staticmethod(end_of_answer)
    tail_blocks = 1
    stream_ending = staticmethod(peek_usage)
    answer_ending = staticmethod(peek_answer)
    answers_loads = True

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> LineEncoder:
        """An encoder for one answer."""
        return LineEncoder(request, stamps.rfc3339, lambda: stamps.monotonic_ns() - begun_ns)

    def reworded(self, error: ProxyError, request: Request) -> ProxyError:
        """Ollama words a missing model differently for each call."""
        return not_found(request.endpoint, request.model, error)

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the engine's own model name."""
        return render(request, model)

    def echoes(self, asked: str, model: str) -> bool:
        """Ollama repeats the name as it was asked, in whichever spelling."""
        return canonical(asked) == canonical(model)

    def is_stream(self, request: Request, content_type: str, start: bytes) -> bool:
        """Lines and a single object read the same, and go by either name; but a stream writes whole lines."""
        may_stream = request.stream or (content_type == self.stream_type and b"\n" in start)
        return may_stream and not start.startswith((b"{\n", b"{\r"))

    def splitter(self) -> LineSplitter:
        """A splitter for one stream."""
        return LineSplitter()

    def form(self, request: Request) -> Form:
        """Lines and whole answers are the same, but that the words may have come before the last line."""
        if (texts := _texts_of(request)) is not None:
            return PassedVectors(request.endpoint, texts)
        return (FORMS if request.stream else WHOLE_FORMS)[request.endpoint]

    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """The line without its end."""
        payload = line.rstrip(b"\r\n")
        return b"", payload, line[len(payload) :]

    def decoder(self, request: Request) -> LineDecoder:
        """A decoder for one stream, which does what a client of another dialect asks for and Ollama does not do."""
        if request.api is self.api:
            return LineDecoder(_call_id_prefix())
        content = request.content()
        known = content.options.known
        most_calls = 1 if known.get("parallel_tool_calls") is False else None
        echo = content.prompt if isinstance(content, Completion) and known.get("echo") is True else ""
        return LineDecoder(_call_id_prefix(), most_calls, echo)

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of a whole answer."""
        if request.operation is Operation.EMBEDDING:
            return decode_vectors(body, _texts_of(request))
        return decode_answer(body, self.decoder(request))


def _texts_of(request: Request) -> int | None:
    """How many texts are to be embedded; None where nothing is, and the model is only loaded."""
    if request.operation is not Operation.EMBEDDING or request.load_action is not None:
        return None
    content = request.content()
    return len(content.inputs) if isinstance(content, Embedding) else None


def _call_id_prefix() -> str:
    """Ids of tool calls must differ between the turns of a conversation."""
    return f"call_{secrets.token_hex(4)}_"
