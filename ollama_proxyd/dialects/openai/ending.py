"""How a stream that was passed on untouched ended, read from its last events alone."""

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.dialects.base import Ending
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.openai.failures import error_in_answer
from ollama_proxyd.dialects.openai.frames import FRAME, UNREADABLE, Frame, finish_reason, timings_of, usage_of

_FRAMES_WITHOUT_TEXT = 2
"""At the least the finish reason and [DONE] carry no token."""


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
