"""A client's place in a trace, as W3C's Trace Context writes it: what of it is read, and what is passed on."""

import re
from collections.abc import Sequence

from ollama_proxyd.core.values import value

MOST_MEMBERS = 32
MOST_STATE_CHARACTERS = 512
"""What everybody passes on; of more the long members go first, then the last."""
LONG_MEMBER_CHARACTERS = 128
SAMPLED = 1
_KNOWN_FLAGS = 0b11

_PARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?=-|\Z)",
    re.ASCII,
)
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


@value
class Trace:
    """A place in a trace; `above` is the one above it where it is a span of ours, "" where that begins the trace."""

    traceparent: str = ""
    tracestate: str = ""
    above: str | None = None


NO_TRACE = Trace()


def read_trace(parents: Sequence[str], states: Sequence[str]) -> Trace:
    """What the headers of a request say; nothing where `traceparent` cannot be read. It is passed on as version 00."""
    found = _PARENT.match(parents[0]) if len(parents) == 1 else None
    if found is None or (found["version"] == "00" and found.end() < len(parents[0])):
        return NO_TRACE
    return Trace(f"00-{found['ids']}-{int(found['flags'], 16) & _KNOWN_FLAGS:02x}", _state(states))


def beneath(above: Trace, trace_id: int, span_id: int) -> Trace:
    """The place of a span of ours, in a new trace where there is none; the same place where nothing is recorded."""
    if not above.traceparent:
        return Trace(f"00-{trace_id:032x}-{span_id:016x}-{SAMPLED:02x}", above="")
    _, known_id, _, flags = above.traceparent.split("-")
    if not int(flags, 16) & SAMPLED:
        return above
    return Trace(f"00-{known_id}-{span_id:016x}-{flags}", above.tracestate, above.traceparent)


def _state(lines: Sequence[str]) -> str:
    """What tracing systems note for themselves, within bounds; nothing where a part of it cannot be read."""
    members = [stripped for each in ",".join(lines).split(",") if (stripped := each.strip(" \t"))]
    read = [_MEMBER.fullmatch(each) for each in members[: MOST_MEMBERS + 1]]
    keys = {each[1] for each in read if each is not None}
    if len(members) > MOST_MEMBERS or len(keys) < len(members):
        return ""
    if len(",".join(members)) > MOST_STATE_CHARACTERS:
        members = [each for each in members if len(each) <= LONG_MEMBER_CHARACTERS]
    while len(state := ",".join(members)) > MOST_STATE_CHARACTERS:
        members.pop()
    return state
