"""Reads the answers of OpenAI-style engines: streams, whole answers, vectors, and how passed-on answers ended."""

import base64
import math
import struct
from collections.abc import Iterable, Sequence

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, FinishReason, Timings, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Chat, Completion, Content, Embedding, Json
from ollama_proxyd.dialects.base import BlockDecoder, Ending
from ollama_proxyd.dialects.framing import jsonbody
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.openai.answer import (
    FRAME,
    AnswerCall,
    AnswerMessage,
    Choice,
    Frame,
    WireTimings,
    WireUsage,
    finish_reason,
    logprobs_of,
    timings_of,
    usage_of,
)
from ollama_proxyd.dialects.openai.errors import error_in_answer


class CallNumbers:
    """Gives every piece the index of the call that it belongs to."""

    def __init__(self) -> None:
        self._ids: dict[int, str | None] = {}

    def number(self, piece: AnswerCall) -> ToolCallDelta:
        """The piece under its call's index; its id and name only where a call begins."""
        name = piece.function.name if piece.function else None
        arguments = piece.function.arguments if piece.function else None
        index = self._index_of(piece, name)
        begins = index not in self._ids
        if begins:
            if len(self._ids) >= MOST_CALLS:
                raise too_many_calls()
            self._ids[index] = piece.id
        return ToolCallDelta(
            index=index,
            id=piece.id if begins else None,
            name=name if begins else None,
            arguments=_text_of(arguments),
        )

    def _index_of(self, piece: AnswerCall, name: str | None) -> int:
        following = max(self._ids, default=-1) + 1
        if piece.index is not None:
            known = self._ids.get(piece.index)
            another = bool(name and piece.id and known and known != piece.id)
            return following if another else piece.index
        for index, call_id in self._ids.items():
            if piece.id and call_id == piece.id:
                return index
        return following if name or not self._ids else following - 1


def _text_of(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


_NOTHING = AnswerMessage()


def top_logprobs_of(content: Content) -> int | None:
    """How many alternatives the client asked for: engines are asked for at least one."""
    return (content.top_logprobs or 0) if isinstance(content, Chat | Completion) else None


class ChunkDecoder(BlockDecoder):
    """Reads a streamed chat or completion; the end is told by `finish`, for usage comes after the finish reason."""

    def __init__(self, top_logprobs: int | None = None) -> None:
        super().__init__(events)
        self._top_logprobs = top_logprobs
        self._calls = CallNumbers()
        self._reason: FinishReason | None = None
        self._done = False
        self._usage: Usage | None = None
        self._timings = Timings()
        self._deltas = 0

    def finish(self) -> Finished:
        """How the answer ended; raises UPSTREAM_FAILED when the stream failed or broke off."""
        self._raise_failure()
        if self._reason is None and not self._done:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's stream broke off before the answer was complete")
        usage = self._usage or Usage(completion_tokens=self._deltas, estimated=True)
        return Finished(self._reason or FinishReason.STOP, usage, self._timings)

    def read(self, payload: bytes) -> Delta | None:
        """What one event says."""
        if payload == b"[DONE]":
            self._done = True
            return None
        frame = jsonbody.decode_answer(FRAME, payload, "OpenAI")
        if frame.error is not None:
            raise error_in_answer(frame.error)
        self._usage = usage_of(frame.usage, frame.timings) or self._usage
        if frame.timings is not None:
            self._timings = timings_of(frame.timings)
        choice = _first(frame)
        if choice is None:
            return None
        if choice.finish_reason:
            self._reason = finish_reason(choice.finish_reason)
        delta = _delta(choice, self._calls, self._top_logprobs)
        self._deltas += delta is not None
        return delta


def decode_answer(body: bytes, top_logprobs: int | None = None) -> list[Event]:
    """The events of a whole chat or completion; raises UPSTREAM_FAILED when it is none."""
    frame = jsonbody.decode_answer(FRAME, body, "OpenAI")
    if frame.error is not None:
        raise error_in_answer(frame.error)
    choice = _first(frame)
    if choice is None:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's answer holds no choices")
    delta = _delta(choice, CallNumbers(), top_logprobs)
    usage = usage_of(frame.usage, frame.timings) or Usage()
    finished = Finished(finish_reason(choice.finish_reason or "stop"), usage, timings_of(frame.timings))
    return [finished] if delta is None else [delta, finished]


def _first(frame: Frame) -> Choice | None:
    """The first of several answers: only clients of the same dialect can be given more."""
    return next((choice for choice in frame.choices or () if not choice.index), None)


def _delta(choice: Choice, calls: CallNumbers, top_logprobs: int | None) -> Delta | None:
    message = choice.delta or choice.message or _NOTHING
    delta = Delta(
        text=message.content or choice.text or "",
        thinking=message.reasoning_content or message.reasoning or "",
        tool_calls=tuple(calls.number(piece) for piece in message.tool_calls or ()),
        logprobs=logprobs_of(choice.logprobs, top_logprobs),
    )
    return delta if delta.text or delta.thinking or delta.tool_calls or delta.logprobs else None


_FRAMES_WITHOUT_TEXT = 2
"""At the least the finish reason and [DONE] carry no token."""


def peek_usage(tail: bytes, frames_seen: int) -> Ending:
    """What the last events of a stream say; odd data says nothing, and never raises.

    Without usage the answer's tokens are estimated from the number of events.
    """
    estimate = Usage(completion_tokens=max(0, frames_seen - _FRAMES_WITHOUT_TEXT), estimated=True)
    return _ending_in(events(tail), estimate)


class WholeAnswer(msgspec.Struct):
    """What every whole answer has: choices, or vectors."""

    choices: list[Json] | None = None
    data: list[Json] | None = None


_WHOLE = msgspec.json.Decoder(WholeAnswer)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; never raises."""
    ending = _ending_in((body,), Usage())
    whole = jsonbody.readable(_WHOLE, body)
    return Ending(ending.finished, whole is not None and bool(whole.choices or whole.data), ending.error)


def _ending_in(payloads: Iterable[bytes], usage: Usage) -> Ending:
    """What the frames say, each later one over the earlier; `usage` where none of them tells it."""
    timings: WireTimings | None = None
    reason: FinishReason | None = None
    error: ProxyError | None = None
    is_done = False
    for data in payloads:
        frame = jsonbody.readable(FRAME, data)
        if frame is None:
            is_done = is_done or data == b"[DONE]"
            continue
        error = error_in_answer(frame.error) if frame.error is not None else error
        usage = usage_of(frame.usage, frame.timings) or usage
        timings = frame.timings or timings
        for choice in frame.choices or ():
            reason = finish_reason(choice.finish_reason) if choice.finish_reason else reason
    finished = Finished(reason or FinishReason.STOP, usage, timings_of(timings))
    return Ending(finished, error is None and (is_done or reason is not None), error)


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
    answer = jsonbody.decode_answer(_VECTORS, body, "OpenAI")
    if answer.error is not None:
        raise error_in_answer(answer.error)
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
