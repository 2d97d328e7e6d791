"""Anthropic's Messages API as one dialect."""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Api, Json, Request
from ollama_proxyd.dialects.anthropic import passing
from ollama_proxyd.dialects.anthropic.decode import EventDecoder, decode_answer
from ollama_proxyd.dialects.anthropic.encode import MessageEncoder
from ollama_proxyd.dialects.anthropic.ending import peek_answer, peek_usage
from ollama_proxyd.dialects.anthropic.errors import render_error, stream_error
from ollama_proxyd.dialects.anthropic.joining import Joiner
from ollama_proxyd.dialects.anthropic.parse import parse_message
from ollama_proxyd.dialects.base import Dialect, Rendered, Stamps
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.framing.begun import is_begun
from ollama_proxyd.dialects.framing.jsonbody import (
    decode_fields,
    decode_value,
    object_in,
    readable,
    with_model,
)
from ollama_proxyd.dialects.framing.passing import Form
from ollama_proxyd.dialects.framing.sse import ENDS, events, frames

MESSAGES = "/v1/messages"
COUNT = f"{MESSAGES}/count_tokens"

_DATA = b"data:"
_JSON = (b"{", b"[")
_STOP = b"message_stop"
_NAMED = re.compile(rb"(?:^|[\r\n])event:[ ]?[a-z_]+[\r\n]")


class _Tool(msgspec.Struct):
    type: str | None = None


_TOOLS = msgspec.json.Decoder(list[_Tool])

FIELDS = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "stream", "temperature", "top_p", "top_k"),
        *("stop_sequences", "tools", "thinking", "metadata", "service_tier", "cache_control"),
    }
)
"""The fields that every engine with this API reads, or need not know."""


def _is_regular(frame: bytes) -> bool:
    return sse.is_regular(frame) and _NAMED.search(frame) is not None


def _end_of_answer(frame: bytes) -> int | None:
    """The whole frame where it ends the message."""
    if _STOP not in frame:
        return None
    told = (object_in(payload) for payload in events(frame))
    return len(frame) if any(each is not None and each.get("type") == _STOP.decode() for each in told) else None


class Anthropic(Dialect):
    """Server-sent events, each with a name.

    base: where an engine's API begins. reads: the fields that the engine reads; requests with others are translated,
    which tells the client what was left out. ignores_disabled: whether the engine thinks although thinking is
    disabled. counts: whether it counts the tokens of a request. joins: a whole answer is asked for as a stream.
    runs: how the types of those tools begin that the engine runs itself.
    """

    api = Api.ANTHROPIC
    whole_type = "application/json"
    stream_type = "text/event-stream"
    prefix = MESSAGES
    option_places = MappingProxyType(
        {
            **{name: (name,) for name in ("model", "max_tokens", "temperature", "top_p", "top_k")},
            "stop": ("stop_sequences",),
        }
    )
    calls = MappingProxyType({MESSAGES: parse_message})
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)
    frame_mark = _DATA
    frame_ends = ENDS
    payloads = staticmethod(events)
    tail_blocks = 4
    frames = staticmethod(frames)
    framed = staticmethod(sse.named)
    is_comment = staticmethod(sse.is_comment)
    is_aside = staticmethod(lambda _: False)
    is_regular = staticmethod(_is_regular)
    closing = sse.named(b'{"type":"message_stop"}')
    end_mark = _STOP
    end_of_answer = staticmethod(_end_of_answer)
    stream_ending = staticmethod(peek_usage)
    answer_ending = staticmethod(peek_answer)
    answers_loads = False
    landmark = b"content_block_st"
    counts_at_first = True
    named_in = "message"

    def __init__(
        self,
        base: str = "/v1",
        reads: Collection[str] = FIELDS | {"tool_choice"},
        *,
        ignores_disabled: bool = False,
        counts: bool = False,
        joins: bool = False,
        runs: str | None = None,
    ) -> None:
        self.base = base
        self.counts = counts
        self._joins = joins
        self._runs = runs
        self._reads = frozenset(reads)
        self._ignores_disabled = ignores_disabled

    def takes(self, request: Request) -> bool:
        """Whether the engine reads all that the request says; the rest of an answer is asked for in other words."""
        fields, is_whole = decode_fields(request.body), request.spoken is None and not request.is_amended
        if not is_whole or not self._reads.issuperset(fields) or not self._knows(fields):
            return False
        return not (self._ignores_disabled and "thinking" in fields and _is_disabled(fields["thinking"]))

    def _knows(self, fields: Mapping[str, msgspec.Raw]) -> bool:
        """Whether each tool is the client's own, or one that the engine runs."""
        tools = readable(_TOOLS, fields["tools"]) if "tools" in fields else None
        kinds = {tool.type for tool in tools or ()} - {None, "custom"}
        return not kinds or (self._runs is not None and all((kind or "").startswith(self._runs) for kind in kinds))

    def passed_calls(self, request: Request) -> passing.StopReasons:  # noqa: ARG002 - see base
        """Calls come whole in their blocks; the reason of the end may have to be another."""
        return passing.StopReasons()

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> MessageEncoder:  # noqa: ARG002 - see base
        """An encoder for one answer."""
        return MessageEncoder(request, stamps.new_id())

    def render(self, request: Request, model: str) -> Rendered:
        """The client's own bytes under the engine's own model name."""
        if request.api is not self.api:
            message = "requests of other APIs are not translated to Anthropic's"
            raise ProxyError(ErrorKind.UNSUPPORTED, message)
        fields, path = decode_fields(request.body), f"{self.base}/messages"
        if self._joins and not request.stream and not is_begun(fields):
            return Rendered(path, msgspec.json.encode({**fields, "model": model, "stream": True}), joiner=Joiner)
        return Rendered(path, with_model(request.body, fields, model))

    def echoes(self, asked: str, model: str) -> bool:
        """These engines put their own name for the model into the first frame."""
        return asked == model

    def is_stream(self, request: Request, content_type: str, start: bytes) -> bool:  # noqa: ARG002 - see base
        """As it begins: an object is a whole answer."""
        return not start.startswith(_JSON)

    def form(self, request: Request) -> Form:
        """Streams and whole answers differ."""
        return passing.EVENTS if request.stream else passing.MESSAGE

    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """An event's data line."""
        return sse.split_line(line)

    def decoder(self, request: Request) -> EventDecoder:  # noqa: ARG002 - see base
        """A decoder for one stream."""
        return EventDecoder()

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:  # noqa: ARG002 - see base
        """The events of a whole answer."""
        return decode_answer(body)


def _is_disabled(thinking: msgspec.Raw) -> bool:
    told: Json = decode_value(thinking, "thinking")
    return isinstance(told, dict) and told.get("type") == "disabled"
