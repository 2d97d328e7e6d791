"""The hints a request may carry: each field, and the values that it takes."""

import re
from collections.abc import Mapping
from typing import Any

from ollama_proxyd.core.fields import Reader, WrongValueError, one_of, shown, text
from ollama_proxyd.core.requests import Json, MediaType, Priority

MOST = 1e12

_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,16}", re.ASCII)
_BOOLEANS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
_PRIORITIES = {
    "best-effort": Priority.BEST_EFFORT,
    "low": Priority.BEST_EFFORT,
    "normal": Priority.NORMAL,
    "high": Priority.HIGH,
    "critical": Priority.CRITICAL,
    "realtime": Priority.CRITICAL,
}


def _backend_id(value: Json) -> str:
    if not text(value):
        raise WrongValueError("must be the id of a backend")
    return str(value)


def _flag(value: Json) -> Any:
    said = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(said, bool):
        raise WrongValueError(f"must be true, 1, yes or on, or false, 0, no or off, not {shown(value)}")
    return said


def _above_zero(value: Json) -> float:
    said = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < MOST:
        raise WrongValueError(f"must be a number above 0 such as 250 or 12.5, not {shown(value)}")
    return float(said)


def _unix_ms(value: Json) -> int:
    said = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
    if isinstance(said, bool) or not isinstance(said, int) or not 0 < said < 10**16:
        raise WrongValueError(f"must be a moment in whole milliseconds since 1970, not {shown(value)}")
    return said


FIELDS: Mapping[str, Reader] = {
    "target": _backend_id,
    "latency_critical": _flag,
    "power_efficient": _flag,
    "max_latency_ms": _above_zero,
    "max_power_watts": _above_zero,
    "priority": one_of(_PRIORITIES),
    "media_type": one_of({media_type.value: media_type for media_type in MediaType}),
    "deadline_ms": _unix_ms,
}
"""A value may be typed, or text as a header has it."""
