"""The request headers that carry hints, and the request's id."""

import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from ollama_proxyd.core.cache_control import CacheControl
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.hints import read_hint
from ollama_proxyd.core.log_wish import NAMES, LogWish
from ollama_proxyd.core.programs import NOBODY, Asker
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.trace_context import read_trace
from ollama_proxyd.core.values import replace
from ollama_proxyd.edges.plumbing.hint_headers import FIELD_OF, HEADERS, TRACEPARENT, TRACESTATE

REQUEST_ID_HEADER = "X-Request-ID"
MOST_ID_CHARACTERS = 128
LOG_LEVEL, LOG_INFER = "X-Log-Level", "X-Log-Infer"

_ID = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_AGE = re.compile(r"[0-9]{1,10}", re.ASCII)
_ANY_CACHE = CacheControl()
_process = secrets.token_hex(5)
_number = itertools.count(1)


def read_hints(
    headers: CIMultiDictProxy[str], request_id: str, asker: Asker = NOBODY, frontend: Frontend | None = None
) -> Hints:
    """The hints of a request; ProxyError names the header that is wrong or repeated."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        field = FIELD_OF.get(name.lower())
        if field is None:
            continue
        if field in found:
            raise _wrong(HEADERS[field], "is given more than once")
        found[field] = read_hint(field, value.strip(), HEADERS[field])
    cache = _cache_control(headers.getall(hdrs.CACHE_CONTROL)) if hdrs.CACHE_CONTROL in headers else _ANY_CACHE
    trace = read_trace(headers.getall(TRACEPARENT, ()), headers.getall(TRACESTATE, ()))
    return Hints(request_id=request_id, trace=trace, asker=asker, cache=cache, frontend=frontend, **found)


def _cache_control(lines: Iterable[str]) -> CacheControl:
    """What the directives of a request ask for; others than these are for other caches."""
    said = [part.partition("=") for line in lines for part in line.lower().split(",")]
    directives = {name.strip(): value.strip() for name, _, value in said}
    if not directives:
        return _ANY_CACHE
    age, is_stored = directives.get("max-age", ""), "no-store" not in directives
    max_age_s = float(age) if _AGE.fullmatch(age) else None
    return CacheControl(is_stored and "no-cache" not in directives, is_stored, max_age_s)


def with_log_wish(hints: Hints, query: Mapping[str, str], headers: Mapping[str, str]) -> Hints:
    """The hints with what the client wants logged of its request, by modeld's names; ProxyError for another word."""
    if not query and LOG_LEVEL not in headers and LOG_INFER not in headers:
        return hints
    said = {"log": query.get("log"), LOG_LEVEL: headers.get(LOG_LEVEL)}
    field, word = next(((name, word) for name, word in said.items() if word is not None), (LOG_INFER, None))
    if word is None:
        return replace(hints, log=LogWish.INFO) if headers.get(LOG_INFER) == "1" else hints
    wish = NAMES.get(word.strip().lower())
    if wish is None:
        raise _wrong(field, f"must be one of {', '.join(NAMES)}")
    return replace(hints, log=wish)


def read_request_id(headers: CIMultiDictProxy[str]) -> str:
    """The client's own name for its request, or a new one."""
    given = headers.getall(REQUEST_ID_HEADER, None)
    if given is None:
        return new_id()
    if len(given) > 1:
        raise _wrong(REQUEST_ID_HEADER, "is given more than once")
    if not is_id(given[0]):
        raise _wrong(REQUEST_ID_HEADER, f"must be 1 to {MOST_ID_CHARACTERS} printable ASCII characters")
    return given[0]


def is_id(text: str) -> bool:
    """Whether a client may call its request so."""
    return len(text) <= MOST_ID_CHARACTERS and _ID.fullmatch(text) is not None


def new_id() -> str:
    """A unique, cheap id for a request or an answer."""
    return f"{_process}{next(_number):06x}"


def _wrong(header: str, problem: str) -> ProxyError:
    return ProxyError(ErrorKind.INVALID_REQUEST, f"{header} {problem}", param=header)
