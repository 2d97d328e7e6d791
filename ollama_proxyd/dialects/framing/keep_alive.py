"""How long a model stays in memory, as clients write it: seconds, or a duration of Go."""

import math
import re

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import invalid_request, quoted

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
_MAX_S = (2**63 - 1) / 1e9


def keep_alive_s(value: Json) -> float | None:
    """How long the model shall stay, in seconds: infinity for any negative value, None when unset."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= _MAX_S else math.inf
    if isinstance(value, str):
        return _duration_s(value)
    raise invalid_request(f'keep_alive must be seconds or a duration such as "5m", not {_words(value)}', "keep_alive")


def as_wished_s(value: Json) -> float | None:
    """The same for an API that has no such field; what cannot be read is for the engine to refuse."""
    try:
        return keep_alive_s(value)
    except ProxyError:
        return math.inf


def _duration_s(text: str) -> float:
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0.0
    total_s, at = 0.0, 0
    while part := _DURATION_PART.match(rest, at):
        number, unit = part.groups()
        if not unit:
            raise invalid_request(f"time: missing unit in duration {quoted(text)}", "keep_alive")
        if unit not in _UNIT_S:
            raise invalid_request(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}", "keep_alive")
        total_s += float(number) * _UNIT_S[unit]
        at = part.end()
    if at == 0 or at < len(rest) or total_s > _MAX_S:
        raise invalid_request(f"time: invalid duration {quoted(text)}", "keep_alive")
    return math.inf if negative else total_s


def _words(value: Json) -> str:
    return msgspec.json.encode(value).decode()
