"""Server-sent events: the ends of their frames, and the data of each event."""

import codecs
import re

import msgspec

from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.lenient import is_object

ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
"""A blank line; lines end in LF, CR LF or CR."""

DONE = b"[DONE]"

AROUND = codecs.BOM_UTF8 + b" \t\r\n"
"""What some engines write before and after the name of a field; clients find none of such a name."""

_NAMES = frozenset({b"data", b"event", b"error"})

_FAILING = (b"error", b"exception", b"failed", b"failure")
"""How the names of events end that tell a failure, such as `response.failed`."""

_END = re.compile(rb"(?:^|(?<=[\r\n]))[ \t]*data[ \t]*:[ \t]*\[DONE\][ \t]*(?:(?:\r\n|\r|\n){1,2}|$)")


def events(block: bytes) -> list[bytes]:
    """The data of each event in a block, an error's as {"error": …}; comments and other fields are skipped."""
    found: list[bytes] = []
    data: list[bytes] = []
    kind = b""
    for line in block.splitlines():
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line:
            if data or kind:
                found += _payloads(kind, data)
                data, kind = [], b""
        elif not line.startswith(b":"):
            name, value = _field(line)
            if name == b"event":
                kind = value.lower()
            elif name:
                kind = name if name == b"error" else kind
                data.append(value)
    return found + _payloads(kind, data) if data or kind else found


def _field(line: bytes) -> tuple[bytes, bytes]:
    """A field's name and value; an object without a name is data, and the name of what says nothing is empty."""
    name, _, value = line.partition(b":")
    name = name.strip(AROUND).lower()
    if name.startswith(b"{"):
        return b"data", line.strip(AROUND)
    return name if name in _NAMES else b"", value.strip()


def _payloads(kind: bytes, lines: list[bytes]) -> list[bytes]:
    """The data of one event; lines that are no JSON together stand each for itself, and comments say nothing."""
    is_failing = kind.endswith(_FAILING)
    if not is_failing and len(lines) == 1:
        return lines if lines[0] and not lines[0].startswith(b":") else []
    said = [line for line in lines if line and not line.startswith(b":")]
    whole = b"\n".join(said)
    if is_failing:
        error = whole if is_object(whole) else msgspec.json.encode(whole.decode(errors="replace"))
        return [b'{"error":' + error + b"}"]
    return said if any(line == DONE or is_object(line) for line in said) else [whole] * bool(said)


_FRAME = re.compile(rb".*?(?:\r\n\r\n|\n\r\n|\n\n|\r\r)|.+", re.DOTALL)
_IS_NAME = re.compile("[A-Za-z_][A-Za-z0-9_.]*")
_DATA = re.compile(rb"(?:^|[\r\n])data:")
_OTHER_EVENT = re.compile(
    rb"^event[ \t]*:[ \t]*(?!message[ \t\r]*$|[^\r\n]*(?:" + b"|".join(_FAILING) + rb")[ \t\r]*$)\S",
    re.MULTILINE | re.IGNORECASE,
)


def frames(block: bytes) -> list[bytes]:
    """The events of a block with the blank lines that end them."""
    return _FRAME.findall(block)


def framed(payload: bytes) -> bytes:
    """A payload as an event."""
    return b"data: " + payload + b"\n\n"


def named(payload: bytes) -> bytes:
    """A payload as an event under the name that is its type, by which clients of some APIs tell events apart."""
    told = object_in(payload)
    kind = told.get("type") if told else None
    name = kind.encode() if isinstance(kind, str) and _IS_NAME.fullmatch(kind) else b"message"
    return b"event: " + name + b"\ndata: " + payload + b"\n\n"


def split_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """A line of a block: what precedes its data, the data, and the rest."""
    content = line.rstrip(b"\r\n")
    if not content.startswith(b"data:"):
        return b"", b"", line
    payload = content[5:].lstrip(b" ")
    return content[: len(content) - len(payload)], payload, line[len(content) :]


def is_comment(frame: bytes) -> bool:
    """Whether a frame is comments alone; clients take any other field for an event, and read its data."""
    lines = [line for line in frame.splitlines() if line]
    return bool(lines) and all(line.startswith(b":") for line in lines)


def is_regular(frame: bytes) -> bool:
    """Whether clients find the data of an event, since its name stands at the begin of a line."""
    return _DATA.search(frame) is not None


def is_aside(frame: bytes) -> bool:
    """Whether an event has a name of its own, so that its data is no part of the answer."""
    return _OTHER_EVENT.search(frame) is not None


def end_of_answer(block: bytes) -> int | None:
    """How much of a block belongs to its answer, None where the answer goes on after it."""
    found = _END.search(block)
    return found.end() if found else None
