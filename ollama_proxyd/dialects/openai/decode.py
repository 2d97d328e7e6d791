"""Answers of OpenAI-style engines, streamed or whole, turned into the core's events."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Timings, Usage
from ollama_proxyd.core.requests import Chat, Completion, Content
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.openai.failures import error_in_answer
from ollama_proxyd.dialects.openai.frames import (
    FRAME,
    Choice,
    Frame,
    Message,
    decode_frame,
    finish_reason,
    logprobs_of,
    timings_of,
    usage_of,
)
from ollama_proxyd.dialects.openai.tool_calls import CallNumbers

_NOTHING = Message()


def top_logprobs_of(content: Content) -> int | None:
    """How many alternatives the client asked for: engines are asked for at least one."""
    return (content.top_logprobs or 0) if isinstance(content, Chat | Completion) else None


class StreamDecoder:
    """Reads a streamed chat or completion; the end is told by `finish`, for usage comes after the finish reason."""

    def __init__(self, top_logprobs: int | None = None) -> None:
        self._top_logprobs = top_logprobs
        self._calls = CallNumbers()
        self._reason: FinishReason | None = None
        self._done = False
        self._failure: ProxyError | None = None
        self._usage: Usage | None = None
        self._timings = Timings()
        self._deltas = 0

    def feed(self, block: bytes) -> list[Event]:
        """The events in a block of whole SSE events; a failure is raised once what came before it was handed out."""
        self._raise_failure()
        decoded: list[Event] = []
        try:
            for data in events(block):
                delta = self._read(data)
                if delta is not None:
                    decoded.append(delta)
        except ProxyError as failure:
            self._failure = failure
        if not decoded:
            self._raise_failure()
        self._deltas += len(decoded)
        return decoded

    def finish(self) -> Finished:
        """How the answer ended; raises UPSTREAM_FAILED when the stream failed or broke off."""
        self._raise_failure()
        if self._reason is None and not self._done:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend's stream broke off before the answer was complete")
        usage = self._usage or Usage(completion_tokens=self._deltas, estimated=True)
        return Finished(self._reason or FinishReason.STOP, usage, self._timings)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read(self, data: bytes) -> Delta | None:
        if data == b"[DONE]":
            self._done = True
            return None
        frame = decode_frame(data, FRAME)
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
        return _delta(choice, self._calls, self._top_logprobs)


def decode_answer(body: bytes, top_logprobs: int | None = None) -> list[Event]:
    """The events of a whole chat or completion; raises UPSTREAM_FAILED when it is none."""
    frame = decode_frame(body, FRAME)
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
