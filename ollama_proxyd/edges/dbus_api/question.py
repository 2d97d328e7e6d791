"""What a dry run asks, read from a dictionary a{sv}."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import Reading, SystemState, Unavailable
from ollama_proxyd.core.requests import Hints, Operation, Priority
from ollama_proxyd.edges.dbus_api.errors import invalid, read_mode

_NOT_SAID = Unavailable("not said in this question")
_IMAGINED_AT_S = 0.0
_NUMBERS = frozenset("ynqiuxtd")
_PRIORITIES = {
    "best-effort": Priority.BEST_EFFORT,
    "low": Priority.BEST_EFFORT,
    "normal": Priority.NORMAL,
    "high": Priority.HIGH,
    "critical": Priority.CRITICAL,
    "realtime": Priority.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A request that nobody makes, under a mode and a state of the machine that may be imagined."""

    query: Query
    mode: Mode | None
    system: SystemState | None


Reader = Callable[[str, Variant], Any]


def _text(key: str, value: Variant) -> str | None:
    if value.signature != "s":
        raise invalid(f"{key} must be a text (s), not of the type {value.signature}")
    return value.value or None


def _flag(key: str, value: Variant) -> bool:
    if value.signature != "b":
        raise invalid(f"{key} must be true or false (b), not of the type {value.signature}")
    return bool(value.value)


def _between(lowest: float, highest: float) -> Reader:
    def read(key: str, value: Variant) -> float:
        if value.signature not in _NUMBERS:
            raise invalid(f"{key} must be a number, not of the type {value.signature}")
        if not lowest <= value.value <= highest:  # NaN is between nothing
            raise invalid(f"{key} must lie between {lowest:g} and {highest:g}, not at {value.value:g}")
        return float(value.value)

    return read


def _count(key: str, value: Variant) -> int:
    return int(_between(0, 1e9)(key, value))


def _one_of(words: Mapping[str, Any]) -> Reader:
    def read(key: str, value: Variant) -> Any:
        word = _text(key, value) or ""
        if word not in words:
            raise invalid(f"{key} must be one of {', '.join(words)}, not {word!r}")
        return words[word]

    return read


def _mode(key: str, value: Variant) -> Mode | None:
    name = _text(key, value)
    return None if name is None else read_mode(name)


_ABOVE_ZERO = math.nextafter(0, 1)
_PROFILES = {word: word for word in ("power-saver", "balanced", "performance")}

_QUERY: Mapping[str, Reader] = {
    "model": _text,
    "operation": _one_of({operation.value: operation for operation in Operation}),
    "prompt_tokens": _count,
    "max_tokens": _count,
    "needs_vision": _flag,
}
_HINTS: Mapping[str, tuple[str, Reader]] = {
    "target": ("target", _text),
    "latency_critical": ("latency_critical", _flag),
    "prefer_power_efficiency": ("power_efficient", _flag),
    "max_latency_ms": ("max_latency_ms", _between(_ABOVE_ZERO, 1e9)),
    "max_power_watts": ("max_power_w", _between(_ABOVE_ZERO, 1e9)),
    "priority": ("priority", _one_of(_PRIORITIES)),
}
_SYSTEM: Mapping[str, Reader] = {
    "on_battery": _flag,
    "battery_percent": _between(0, 100),
    "hottest_c": _between(-100, 1000),
    "fan_percent": _between(0, 100),
    "power_profile": _one_of(_PROFILES),
    "performance_degraded": lambda key, value: _text(key, value) or "",
    "quiet_hours": _flag,
}
_KEYS = (*_QUERY, "mode", *_HINTS, *_SYSTEM)


def read_question(asked: Mapping[str, Variant]) -> Question:
    """The question, or the refusal that names the key at fault and what it may say."""
    strange = [key for key in asked if key not in _KEYS]
    if strange:
        raise invalid(f"{strange[0]!r} is not a key of a question; the keys are: {', '.join(_KEYS)}")
    query = {key: read(key, asked[key]) for key, read in _QUERY.items() if key in asked}
    hints = {field: read(key, asked[key]) for key, (field, read) in _HINTS.items() if key in asked}
    system: dict[str, Any] = dict.fromkeys(_SYSTEM, _NOT_SAID)
    said = {key: Reading(read(key, asked[key]), _IMAGINED_AT_S) for key, read in _SYSTEM.items() if key in asked}
    return Question(
        query=Query(**{"model": None, "operation": Operation.CHAT, **query}, hints=Hints(**hints)),
        mode=_mode("mode", asked["mode"]) if "mode" in asked else None,
        system=SystemState(**{**system, **said}) if said else None,
    )
