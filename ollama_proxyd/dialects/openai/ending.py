"""How an answer ended that was passed on as it came."""

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.base import Ending
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.sse import DONE, events
from ollama_proxyd.dialects.openai.answer import (
    FRAME,
    Frame,
    WireTimings,
    timings_of,
    usage_of,
)
from ollama_proxyd.dialects.openai.errors import error_in_answer

_FRAMES_WITHOUT_TEXT = 2
"""At the least the finish reason and [DONE] carry no token."""
_UNTOLD = Usage()
_HAS_MESSAGE = attrgetter("has_message")


class _Vectors(msgspec.Struct):
    data: list[msgspec.Raw] | None = None


_VECTORS = msgspec.json.Decoder(_Vectors)


def peek_usage(tail: bytes, frames_seen: int) -> Ending:
    """What the last events of a stream say; odd data says nothing, and never raises.

    Without usage the answer's tokens are estimated from the number of events.
    """
    estimate = Usage(completion_tokens=max(0, frames_seen - _FRAMES_WITHOUT_TEXT), estimated=True)
    payloads = events(tail)
    ending = _ending_in((lenient.read(FRAME, payload) for payload in payloads if payload != DONE), estimate)
    return Ending(ending.finished, ending.error is None and (ending.complete or DONE in payloads), ending.error)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; one that every reader takes is complete. Never raises."""
    frame = readable(FRAME, body)
    ending = _ending_in((frame,), _UNTOLD)
    has_message = frame is not None and any(map(_HAS_MESSAGE, frame.choices or ()))
    return Ending(ending.finished, ending.error is None and (has_message or _has_vectors(body)), ending.error)


def _has_vectors(body: bytes) -> bool:
    vectors = readable(_VECTORS, body)
    return vectors is not None and bool(vectors.data)


def _ending_in(frames: Iterable[Frame | None], estimate: Usage) -> Ending:
    """What the frames say, each later one over the earlier; the estimate where none of them tells it."""
    usage = _UNTOLD
    timings: WireTimings | None = None
    reason: FinishReason | None = None
    error: Json = None
    for frame in frames:
        if frame is None:
            continue
        error = frame.reported or error
        if frame.usage is not None or frame.timings is not None:
            usage = usage_of(frame.usage, frame.timings) or usage
        timings = frame.timings or timings
        for choice in frame.choices or ():
            reason = choice.ending or reason
    finished = Finished(reason or FinishReason.STOP, usage.or_else(estimate), timings_of(timings))
    return Ending(finished, reason is not None, error_in_answer(error) if error else None)
