"""Reads an Ollama engine's answers: streams, whole answers, vectors, and how passed-on answers ended."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, ToolCallDelta
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.base import BlockDecoder, Ending
from ollama_proxyd.dialects.framing import jsonbody
from ollama_proxyd.dialects.framing.limits import MOST_CALLS, too_many_calls
from ollama_proxyd.dialects.framing.logprobs import read_logprobs
from ollama_proxyd.dialects.framing.ndjson import lines
from ollama_proxyd.dialects.ollama.answer import End, Line, NativeAnswerCall, Vectors, estimated, finished

_END = msgspec.json.Decoder(End)


def peek_usage(tail: bytes, frames_seen: int) -> Ending:
    """What the last line of a stream says; odd data says nothing, and never raises.

    Where it does not tell the tokens, the lines that went by stand for them: one a token, and the last has none.
    """
    return _read(tail.rstrip().rsplit(b"\n", 1)[-1], frames_seen)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; never raises."""
    return _read(body, 0)


def _read(last: bytes, frames_seen: int) -> Ending:
    end = jsonbody.readable(_END, last)
    if end is None:
        return Ending(estimated(frames_seen), complete=False)
    if end.error is not None:
        return Ending(estimated(frames_seen), complete=False, error=failed_midway(end.error))
    told = finished(end, called=b'"tool_calls"' in last)
    if told.usage.completion_tokens is None and not end.has_vectors and frames_seen > 1:
        told = Finished(told.reason, estimated(frames_seen - 1).usage, told.timings)
    return Ending(told, complete=end.done or end.has_vectors)


def failed_midway(text: str) -> ProxyError:
    """The backend said inside its answer that it failed."""
    said = msgspec.json.encode({"error": text}).decode()
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"the backend broke off: {sanitize_line(text)}", detail=said)


_LINE = msgspec.json.Decoder(Line)
_VECTORS = msgspec.json.Decoder(Vectors)


class LineDecoder(BlockDecoder):
    """Turns whole lines into events; the end is told by `finish`.

    `call_id_prefix` makes ids for tool calls that came without.
    """

    def __init__(self, call_id_prefix: str = "call_") -> None:
        super().__init__(lines)
        self._call_id_prefix = call_id_prefix
        self._calls = 0
        self._end: Line | None = None

    def read(self, payload: bytes) -> Delta | None:
        """What one object says."""
        line = jsonbody.decode_answer(_LINE, payload, "Ollama")
        if line.error is not None:
            raise failed_midway(line.error)
        if line.done:
            self._end = line
        return self._delta(line)

    def finish(self) -> Finished:
        """How the answer ended; raises UPSTREAM_FAILED when the stream failed or broke off before its last line."""
        self._raise_failure()
        if self._end is None:
            raise _failed("the backend's stream broke off before the answer was complete")
        return finished(self._end, called=self._calls > 0)

    def _delta(self, line: Line) -> Delta | None:
        message = line.message
        said = message.content if message else line.response
        thought = message.thinking if message else line.thinking
        calls = message.tool_calls if message else line.tool_calls
        if not (said or thought or calls or line.logprobs):
            return None
        return Delta(
            text=said or "",
            thinking=thought or "",
            tool_calls=tuple(self._call(call) for call in calls) if calls else (),
            logprobs=read_logprobs(line.logprobs) if line.logprobs else None,
        )

    def _call(self, call: NativeAnswerCall) -> ToolCallDelta:
        index = self._calls
        if index >= MOST_CALLS:
            raise too_many_calls()
        self._calls += 1
        try:
            arguments = call.function.arguments_text()
        except UnicodeDecodeError as error:
            raise _failed("the arguments of a tool call are not valid UTF-8") from error
        call_id = call.id or f"{self._call_id_prefix}{index}"
        return ToolCallDelta(index=index, id=call_id, name=call.function.name, arguments=arguments)


def decode_answer(body: bytes, operation: Operation, call_id_prefix: str = "call_") -> list[Event]:
    """The events of an answer that came whole."""
    if operation is Operation.EMBEDDING:
        return _embedded(body)
    decoder = LineDecoder(call_id_prefix)
    delta = decoder.read(body)
    ended = decoder.finish()
    return [ended] if delta is None else [delta, ended]


def _embedded(body: bytes) -> list[Event]:
    read = jsonbody.decode_answer(_VECTORS, body, "Ollama")
    if read.error is not None:
        raise failed_midway(read.error)
    if read.embeddings is None:
        raise _failed("the backend's answer holds no embeddings")
    return [Embedded(read.embeddings), finished(read, called=False)]


def _failed(message: str) -> ProxyError:
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message)
