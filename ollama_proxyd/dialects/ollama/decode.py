"""Reads an Ollama engine's answers: streams, whole answers, vectors, and how passed-on answers ended."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, ToolCallDelta
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.base import BlockDecoder, Ending, UnreadableError
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.framing.logprobs import read_logprobs
from ollama_proxyd.dialects.framing.ndjson import lines
from ollama_proxyd.dialects.framing.parts import said_in, thought_in
from ollama_proxyd.dialects.framing.reported import sentence
from ollama_proxyd.dialects.framing.vectors import NO_VECTOR, vector_in
from ollama_proxyd.dialects.ollama.answer import (
    End,
    Line,
    NativeAnswerCall,
    NativeAnswerMessage,
    Vectors,
    estimated,
    finished,
)

_END = msgspec.json.Decoder(End)

END_MARK = b"true"
"""The last line of an answer is the one that is done."""


def end_of_answer(block: bytes) -> int | None:
    """How much of a block belongs to its answer, None where the answer goes on after it."""
    at = 0
    for line in block.splitlines(keepends=True):
        at += len(line)
        if END_MARK in line and (end := lenient.read(_END, line)) is not None and end.done:
            return at
    return None


def peek_usage(tail: bytes, frames_seen: int) -> Ending:
    """What the last line of a stream says; odd data says nothing, and never raises.

    Where it does not tell the tokens, the lines that went by stand for them: one a token, and the last has none.
    """
    *_, last = (b"", *lines(tail))
    return _ending(lenient.read(_END, last), last, frames_seen)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; one that every reader takes is complete. Never raises."""
    end = readable(_END, body)
    ending = _ending(end, body, 0)
    is_answer = end is not None and (end.has_vectors or end.has_message)
    return Ending(ending.finished, ending.complete and is_answer, ending.error)


def _ending(end: End | None, last: bytes, frames_seen: int) -> Ending:
    if end is None:
        return Ending(estimated(frames_seen), complete=False)
    if (error := end.reported) is not None:
        return Ending(estimated(frames_seen), complete=False, error=failed_midway(error))
    told = finished(end, called=b'"tool_calls"' in last, counted=0 if end.has_vectors else frames_seen - 1)
    return Ending(told, complete=bool(end.done) or end.has_vectors)


def failed_midway(error: Json) -> ProxyError:
    """The backend said inside its answer that it failed."""
    said = sentence(error) or "without a reason"
    detail = msgspec.json.encode({"error": said}).decode()
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"the backend broke off: {said}", detail=detail)


_LINE = msgspec.json.Decoder(Line)
_VECTORS = msgspec.json.Decoder(Vectors)


class LineDecoder(BlockDecoder):
    """Turns whole lines into events; the end is told by `finish`.

    `call_id_prefix` makes ids for tool calls that came without. `most_calls` are read, and further ones dropped.
    `echo` goes ahead of the text. Ollama cannot be asked for either.
    """

    def __init__(self, call_id_prefix: str = "call_", most_calls: int | None = None, echo: str = "") -> None:
        super().__init__(lines)
        self._call_id_prefix = call_id_prefix
        self._most_calls = most_calls
        self._echo = echo
        self._calls = 0
        self._held_back = 0
        self._counted = 0
        self._end: Line | None = None

    def read(self, payload: bytes) -> Delta | None:
        """What one object says."""
        line = lenient.read(_LINE, payload)
        if line is None:
            raise UnreadableError
        if (error := line.reported) is not None:
            raise failed_midway(error)
        is_said = line.said is not None or isinstance(line.response, str | list)
        self.has_read = self.has_read or bool(line.done) or is_said
        if line.done:
            self._end, self.ended = line, True
        return self._delta(line)

    def told_end(self) -> Finished | None:
        """How the answer ended, None where it broke off before its last line."""
        return None if self._end is None else finished(self._end, called=self._calls > 0, counted=self._counted)

    def _delta(self, line: Line) -> Delta | None:
        message = line.said
        content = message.content if message else line.response
        said, thought = (content, "") if isinstance(content, str) else said_in(content)
        thought = thought or (_thought(message) if message else line.thinking) or ""
        told = message.tool_calls if message else line.tool_calls
        calls = [call for call in told if not call.called.says_nothing] if told else []
        if self._most_calls is not None:
            calls = calls[: max(self._most_calls - self._calls, 0)]
        if self._echo:
            said, self._echo = self._echo + said, ""
        if not (said or thought or calls or line.logprobs):
            self._held_back += not line.done
            return None
        tokens, self._held_back = 1 + self._held_back, 0
        self._counted += 0 if line.done else tokens  # an answer that came whole has many
        return Delta(
            text=said,
            thinking=thought,
            tool_calls=tuple(self._call(call) for call in calls),
            logprobs=read_logprobs(line.logprobs) if line.logprobs else None,
            tokens=tokens,
        )

    def _call(self, call: NativeAnswerCall) -> ToolCallDelta:
        function = call.called
        is_next_piece = self._calls > 0 and not function.name
        index = self._calls - is_next_piece
        if index >= MOST_CALLS:
            raise too_many_calls()
        self._calls = index + 1
        call_id = call.id or f"{self._call_id_prefix}{index}"
        return ToolCallDelta(index, call_id, function.name or None, function.arguments_text())


def _thought(message: NativeAnswerMessage) -> str:
    """What was thought, for which imitators have other names."""
    told = message.thinking or message.reasoning or message.reasoning_content
    return told if isinstance(told, str) else thought_in(told)


def decode_answer(body: bytes, decoder: LineDecoder | None = None) -> list[Event]:
    """The events of an answer that came whole, or of a stream in its place."""
    decoder = decoder or LineDecoder()
    try:
        delta = decoder.read(body)
    except UnreadableError:
        return _streamed(body, decoder)
    end = lenient.read(_END, body)
    if end is not None and end.done and not end.has_message:
        raise _failed("the backend's answer holds no message")
    return [decoder.finish()] if delta is None else [delta, decoder.finish()]


def _streamed(body: bytes, decoder: LineDecoder) -> list[Event]:
    """The events of a stream that came as one body; two whole answers are none."""
    pieces = pieces_in(body)
    first, *rest = pieces.objects if pieces.objects and pieces.is_all else [*lines(body)] or [body]
    found = decoder.feed(first)
    if decoder.ended or not decoder.has_read:
        raise _failed("the backend's answer is not in Ollama's form")
    return [*found, *decoder.feed(b"\n".join(rest)), decoder.finish()]


def decode_vectors(body: bytes, texts: int | None = None) -> list[Event]:
    """The vectors of so many texts, and the end of their answer."""
    read = lenient.read(_VECTORS, body)
    if read is None:
        raise _failed("the backend's answer is not in Ollama's form")
    if (error := read.reported) is not None:
        raise failed_midway(error)
    told = read.told
    if told is None:
        raise _failed("the backend's answer holds no embeddings")
    if texts is not None and len(told) != texts:
        raise _failed(f"the backend sent {len(told)} vectors for {texts} inputs")
    vectors = [vector for each in told if (vector := vector_in(each)) is not None]
    if len(vectors) < len(told):
        raise _failed(NO_VECTOR)
    return [Embedded(tuple(map(tuple, vectors))), finished(read, called=False)]


def _failed(message: str) -> ProxyError:
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message)
