"""How an answer that was passed on untouched ended, read from its last line alone."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.wording import one_line
from ollama_proxyd.dialects.base import Ending
from ollama_proxyd.dialects.ollama.answers import End, estimated, finished

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
    try:
        end = _END.decode(last)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Ending(estimated(frames_seen), complete=False)
    if end.error is not None:
        return Ending(estimated(frames_seen), complete=False, error=failed_midway(end.error))
    told = finished(end, called=b'"tool_calls"' in last)
    if told.usage.completion_tokens is None and not end.has_vectors and frames_seen > 1:
        told = Finished(told.reason, estimated(frames_seen - 1).usage, told.timings)
    return Ending(told, complete=end.done or end.has_vectors)


def failed_midway(text: str) -> ProxyError:
    """The backend said inside its answer that it failed."""
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"the backend broke off: {one_line(text)}", detail=text)
