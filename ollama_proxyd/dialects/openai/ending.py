"""How a stream that was passed on untouched ended, read from its last events alone."""

from collections import deque
from dataclasses import dataclass

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.openai.failures import error_in_answer
from ollama_proxyd.dialects.openai.frames import FRAME, UNREADABLE, Frame, finish_reason, timings_of, usage_of

KEPT_BLOCKS = 4
"""Enough for a finish reason, the usage and [DONE] that each came alone."""

_FRAMES_WITHOUT_TEXT = 2
"""At the least the finish reason and [DONE] carry no token."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end said: `complete` when a finish reason or [DONE] was seen, `error` when the engine failed."""

    finished: Finished
    complete: bool
    error: ProxyError | None = None


class Tail:
    """Keeps the last blocks of a stream and counts its events; no block is read before the end."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque(maxlen=KEPT_BLOCKS)
        self._frames = 0

    def add(self, block: bytes) -> None:
        """Note a block of whole events on its way to the client."""
        self._blocks.append(block)
        self._frames += block.count(b"data:")

    def ending(self) -> Ending:
        """How the stream ended."""
        return peek_usage(b"".join(self._blocks), self._frames)


def peek_usage(tail: bytes, frames_seen: int) -> Ending:
    """What the last events of a stream say; odd data says nothing, and never raises.

    Without usage the answer's tokens are estimated from the number of events.
    """
    reading = _Reading()
    for data in events(tail):
        reading.take(data)
    usage = reading.usage or Usage(completion_tokens=max(0, frames_seen - _FRAMES_WITHOUT_TEXT), estimated=True)
    return reading.ending(usage)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; never raises."""
    reading = _Reading()
    reading.take(body)
    ending = reading.ending(reading.usage or Usage())
    return Ending(ending.finished, ending.error is None, ending.error)


class _Reading:
    """Gathers what the frames say, each later one over the earlier."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._last = Frame()
        self._reason: FinishReason | None = None
        self._error: ProxyError | None = None
        self._done = False

    def take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            frame = FRAME.decode(data)
        except UNREADABLE:
            return
        if frame.error is not None:
            self._error = error_in_answer(frame.error)
        self.usage = usage_of(frame.usage, frame.timings) or self.usage
        self._last = frame if frame.timings is not None else self._last
        for choice in frame.choices or ():
            self._reason = finish_reason(choice.finish_reason) if choice.finish_reason else self._reason

    def ending(self, usage: Usage) -> Ending:
        finished = Finished(self._reason or FinishReason.STOP, usage, timings_of(self._last.timings))
        complete = self._error is None and (self._done or self._reason is not None)
        return Ending(finished, complete, self._error)
