"""The hints a request may carry: each field, and the values that it takes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ollama_proxyd.core.fields import read_field
from ollama_proxyd.core.options import Like, Takes, Within
from ollama_proxyd.core.requests import Json, MediaType, Priority

_PRIORITIES = {
    "best-effort": Priority.BEST_EFFORT,
    "low": Priority.BEST_EFFORT,
    "normal": Priority.NORMAL,
    "high": Priority.HIGH,
    "critical": Priority.CRITICAL,
    "realtime": Priority.CRITICAL,
}
_NUMBER = Takes(float, Within(gt=0, le=10**12))

FIELDS: Mapping[str, Takes] = {
    "target": Takes(str),
    "latency_critical": Takes(bool),
    "power_efficient": Takes(bool),
    "max_latency_ms": _NUMBER,
    "max_power_watts": _NUMBER,
    "priority": Takes(str, form=Like("|".join(_PRIORITIES), f"one of {', '.join(_PRIORITIES)}")),
    "media_type": Takes(MediaType),
    "deadline_ms": Takes(int, Within(1, 10**16)),
    "strict_limits": Takes(bool),
    "include_energy": Takes(bool),
    "defer": Takes(str, form=Like("ac", "ac")),
    "defer_max_wait_seconds": Takes(float, Within(gt=0, le=7 * 24 * 3600)),
}
_MEANS: Mapping[str, Callable[[Any], Any]] = {"priority": _PRIORITIES.__getitem__, "media_type": MediaType}

_BOOLEANS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,16}", re.ASCII)


def read_hint(field: str, value: Json, name: str) -> Any:
    """The value of a field, typed or as text; `name` is what an error calls it."""
    takes = FIELDS[field]
    read = read_field(takes, _typed(takes, value) if isinstance(value, str) else value, name)
    return _MEANS[field](read) if field in _MEANS else read


def _typed(takes: Takes, text: str) -> Json:
    """The value that a text stands for; text of another type stays as it is."""
    if takes.base is bool:
        return _BOOLEANS.get(text.lower(), text)
    if takes.base is float and _DECIMAL.fullmatch(text):
        return float(text)
    if takes.base is int and _WHOLE.fullmatch(text):
        return int(text)
    return text if takes.base is str and takes is FIELDS["target"] else text.lower()
