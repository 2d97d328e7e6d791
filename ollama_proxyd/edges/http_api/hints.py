"""The routing headers of a request: a table of names, and what each may say."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from multidict import CIMultiDictProxy

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Hints, MediaType, Priority
from ollama_proxyd.edges.http_api.ids import new_id

REQUEST_ID_HEADER = "X-Request-ID"
MOST_ID_CHARACTERS = 128

_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,16}", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_BOOLEANS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
_PRIORITIES = {
    "best-effort": Priority.BEST_EFFORT,
    "low": Priority.BEST_EFFORT,
    "normal": Priority.NORMAL,
    "high": Priority.HIGH,
    "critical": Priority.CRITICAL,
    "realtime": Priority.CRITICAL,
}
_MEDIA_TYPES = {media_type.value: media_type for media_type in MediaType}


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("must be true, 1, yes or on, or false, 0, no or off")
    return value


def _decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text) or float(text) <= 0:
        raise ValueError("must be a number above 0 such as 250 or 12.5")
    return float(text)


def _unix_ms(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) == 0:
        raise ValueError("must be a moment in whole milliseconds since 1970")
    return int(text)


def _word(words: Mapping[str, Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return words[text.lower()]

    return parse


def _backend_id(text: str) -> str:
    if not text:
        raise ValueError("must be the id of a backend")
    return text


class Row(NamedTuple):
    """One routing header: its name, the field of Hints that it fills, and how its value is read."""

    header: str
    field: str
    parse: Callable[[str], Any]


ROWS = (
    Row("X-Target-Backend", "target", _backend_id),
    Row("X-Latency-Critical", "latency_critical", _boolean),
    Row("X-Power-Efficient", "power_efficient", _boolean),
    Row("X-Max-Latency-Ms", "max_latency_ms", _decimal),
    Row("X-Max-Power-Watts", "max_power_w", _decimal),
    Row("X-Priority", "priority", _word(_PRIORITIES)),
    Row("X-Media-Type", "media_type", _word(_MEDIA_TYPES)),
    Row("X-Deadline-Ms", "deadline_unix_ms", _unix_ms),
)
_BY_HEADER = {row.header.lower(): row for row in ROWS}


def read_hints(headers: CIMultiDictProxy[str], request_id: str) -> Hints:
    """What the routing headers say; ProxyError names the header that is wrong or repeated."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        row = _BY_HEADER.get(name.lower())
        if row is None:
            continue
        if row.field in found:
            raise _wrong(row.header, "is given more than once")
        found[row.field] = read_hint(row, value, row.header)
    return Hints(request_id=request_id, **found)


def read_hint(row: Row, text: str, where: str) -> Any:
    """The value of one hint; `where` is what an error calls it."""
    try:
        return row.parse(text.strip())
    except ValueError as error:
        raise _wrong(where, f"{error}, not {text[:80]!r}") from None


def read_request_id(headers: CIMultiDictProxy[str]) -> str:
    """The client's own name for its request, or a new one."""
    given = headers.getall(REQUEST_ID_HEADER, None)
    if given is None:
        return new_id()
    if len(given) > 1:
        raise _wrong(REQUEST_ID_HEADER, "is given more than once")
    if len(given[0]) > MOST_ID_CHARACTERS or not _ID.fullmatch(given[0]):
        raise _wrong(REQUEST_ID_HEADER, f"must be 1 to {MOST_ID_CHARACTERS} printable ASCII characters")
    return given[0]


def _wrong(where: str, problem: str) -> ProxyError:
    return ProxyError(ErrorKind.INVALID_REQUEST, f"{where} {problem}", param=where)
