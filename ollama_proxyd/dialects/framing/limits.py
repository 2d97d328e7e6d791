"""How intricate a request or an answer may be, since reading it keeps other requests waiting."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from msgspec import Meta

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import LONGEST_TEXT

ModelName: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]
"""A client's name for a model, which is kept, logged, shown and broadcast."""

MOST_VALUES = 500_000
"""More commas and brackets than that take longer to read than others can wait; no model's context holds as many."""

MOST_ESCAPES = 4_000_000
"""Each takes ten times as long to read as a letter, in a step of C code that lets no other thread work."""

MOST_MESSAGES = 20_000

MOST_CALLS = 1_000
"""Tool calls in one answer."""

MOST_ANSWERS = 1_000
"""Answers beside each other to one request, of each of which something is kept."""

MOST_ARGUMENTS_CHARACTERS = 16 * 1024 * 1024
"""The arguments of all tool calls in one answer."""

_MARKS = b",[{"
_ESCAPE = b"\\"
_SLICE_BYTES = 1024 * 1024


def check_values(body: bytes) -> None:
    """Raise TOO_LARGE when the body may hold more values or escapes than are read; marks in its texts count too."""
    for marks, most, what in ((_MARKS, MOST_VALUES, "commas and brackets"), (_ESCAPE, MOST_ESCAPES, "escapes")):
        if len(body) > most and _count(body, marks) > most:
            message = f"the request body holds more than {most} {what}, too many to be read in time"
            raise ProxyError(ErrorKind.TOO_LARGE, message)


def _count(body: bytes, marks: bytes) -> int:
    """How many marks there are, counted in slices: other threads wait for one of them at most."""
    slices = (body[at : at + _SLICE_BYTES] for at in range(0, len(body), _SLICE_BYTES))
    return sum(len(each) - len(each.translate(None, marks)) for each in slices)


def check_messages(messages: Sequence[object] | None) -> None:
    """Raise INVALID_REQUEST when a conversation has more messages than are read."""
    if messages is not None and len(messages) > MOST_MESSAGES:
        message = f"'messages' holds {len(messages)} messages, more than {MOST_MESSAGES}, the most that are read"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="messages")


def check_top_logprobs(top_logprobs: int | None) -> int | None:
    """The number of likeliest tokens asked for; raise INVALID_REQUEST unless it is 0 to 20."""
    if top_logprobs is not None and not 0 <= top_logprobs <= 20:
        message = "top_logprobs must be between 0 and 20"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="top_logprobs")
    return top_logprobs


def check_answers(answers: int) -> None:
    """Raise UPSTREAM_FAILED where a backend numbers more answers than are kept."""
    if answers > MOST_ANSWERS:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"the backend gives more than {MOST_ANSWERS} answers at once")


def too_many_calls() -> ProxyError:
    """The failure of an answer that calls more tools than a client could use."""
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"the backend's answer holds more than {MOST_CALLS} tool calls")
