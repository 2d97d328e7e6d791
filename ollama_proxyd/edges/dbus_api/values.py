"""Values in D-Bus's words: it has no null, so what is not known is left out or said by NaN, -1, false or nothing."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.readings import Maybe, Reading
from ollama_proxyd.core.reasons import Reason, Value

NOT_A_NUMBER = math.nan
"""The one NaN that is told: containers find an object equal to itself, so that NaN after NaN is no change."""
NO_COUNT = -1

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


class Facts:
    """A dictionary a{sv} in the making; what is not known is left out, and `unknown` says of each such key why."""

    __slots__ = ("_known", "_unknown")

    def __init__(self) -> None:
        self._known: dict[str, Variant] = {}
        self._unknown: dict[str, dict[str, Variant]] = {}

    def say(self, key: str, signature: str, value: Any) -> None:
        """A value in the range of its type; nothing where it is None."""
        if value is not None:
            self._known[key] = Variant(signature, _FIT.get(signature, _as_it_is)(value))

    def say_reason(self, reason: Reason | None) -> None:
        """A reason: its sentence, its code and its details."""
        self._known |= reason_facts(reason)

    def lack(self, key: str, reason: Reason) -> None:
        """A value that is not known, and why."""
        self._unknown[key] = reason_facts(reason)

    def read(self, key: str, signature: str, reading: Maybe[Any]) -> None:
        """A reading, or why there is none."""
        if isinstance(reading, Reading):
            self.say(key, signature, reading.value)
        else:
            self.lack(key, reading.reason)

    def body(self) -> dict[str, Variant]:
        """The dictionary."""
        return {**self._known, "unknown": Variant("a{sa{sv}}", self._unknown)} if self._unknown else self._known


class Plain:
    """Values of properties in the making; one that is not known has a stand-in, and `unknown` says why."""

    __slots__ = ("unknown", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.unknown: dict[str, dict[str, Variant]] = {}

    def read(self, name: str, signature: str, reading: Maybe[Any]) -> None:
        """A reading, or the stand-in of its type and the reason."""
        if isinstance(reading, Reading):
            self.values[name] = _FIT.get(signature, _as_it_is)(reading.value)
        else:
            self.values[name] = STAND_INS[signature]
            self.unknown[name] = reason_facts(reading.reason)


def reason_values(reason: Reason | None) -> tuple[str, str, dict[str, Variant]]:
    """A reason's sentence, code and details; all empty where there is none."""
    if reason is None:
        return "", "", {}
    return str(reason), reason.code, {name: _variant(value) for name, value in reason.values.items()}


def reason_facts(reason: Reason | None) -> dict[str, Variant]:
    """The same as entries of a dictionary."""
    sentence, code, details = reason_values(reason)
    return {
        "reason": Variant("s", sentence),
        "reason_code": Variant("s", code),
        "reason_details": Variant("a{sv}", details),
    }


def _variant(value: Value) -> Variant:
    if isinstance(value, Reason):
        return Variant("a{sv}", reason_facts(value))
    if isinstance(value, tuple):
        return Variant("av", [_variant(each) for each in value])
    return Variant({bool: "b", int: "x", str: "s"}.get(type(value), "d"), value)


def int32(value: float) -> int:
    """A whole number that fits `i`; the nearest where it is too large, -1 where it is none."""
    return NO_COUNT if math.isnan(value) else round(max(-_INT32_MAX, min(value, _INT32_MAX)))


def int64(value: float) -> int:
    """A whole number that fits `x`."""
    return NO_COUNT if math.isnan(value) else int(max(-_INT64_MAX, min(value, _INT64_MAX)))


def number(value: float | None) -> float:
    """A number that fits `d`, NaN where it is not known."""
    return NOT_A_NUMBER if value is None or math.isnan(value) else float(value)


def _as_it_is(value: Any) -> Any:
    return value


_FIT: Mapping[str, Callable[[Any], Any]] = {"d": number, "i": int32, "x": int64, "b": bool}
STAND_INS: Mapping[str, Any] = {"d": NOT_A_NUMBER, "i": NO_COUNT, "b": False, "s": ""}


def sendable(value: Any) -> Any:
    """The same value with texts that the bus takes: a NUL would end the connection."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Variant):
        return Variant(value.signature, sendable(value.value))
    if isinstance(value, Mapping):
        return {sendable(key): sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(each) for each in value]
    return value


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
