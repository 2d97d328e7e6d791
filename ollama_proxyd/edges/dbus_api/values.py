"""Values in D-Bus's words: it has no null, so what is not known is left out or said by NaN, -1, false or nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.readings import Reading, Unavailable
from ollama_proxyd.core.reasons import Reason, Value
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.dbus_api.contract import Contract

NOT_A_NUMBER = math.nan
"""The one NaN that is told: containers find an object equal to itself, so that NaN after NaN is no change."""
NO_COUNT = -1
NO_REQUEST_YET = Unavailable.because("no_request_yet")

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


def facts(rows: Mapping[str, tuple[str, Any]]) -> dict[str, Variant]:
    """A dictionary a{sv} of signatures with values: None is left out, why one is unavailable stands under "unknown"."""
    told: dict[str, Variant] = {}
    unknown: dict[str, dict[str, Variant]] = {}
    for key, (signature, value) in rows.items():
        if isinstance(value, Unavailable):
            unknown[key] = reason_facts(value.reason)
        elif value is not None:
            told[key] = Variant(signature, fitted(signature, value))
    return {**told, "unknown": Variant("a{sa{sv}}", unknown)} if unknown else told


def properties(contract: Contract, status: Any) -> dict[str, Any]:
    """The fields of a status that are properties: battery_percent is BatteryPercent.

    An unavailable one has a stand-in, and "Unknown" the reason.
    """
    told: dict[str, Any] = {}
    unknown: dict[str, dict[str, Variant]] = {}
    for field in fields(status):
        name, value = field.name.title().replace("_", ""), getattr(status, field.name)
        if name not in contract.properties:
            continue
        if name == "Reason":
            told |= reason_properties(value)
        elif value is None and contract.properties[name].signature in STAND_INS:
            told[name] = STAND_INS[contract.properties[name].signature]
        elif contract.properties[name].signature == "a{sv}":
            told[name] = {} if value is None else reason_facts(value)
        elif isinstance(value, Unavailable):
            unknown[name] = reason_facts(value.reason)
            told[name] = STAND_INS[contract.properties[name].signature]
        else:
            told[name] = fitted(contract.properties[name].signature, value)
    return {**told, "Unknown": unknown}


def reason_properties(reason: Reason | None) -> dict[str, Any]:
    """A reason as the three properties that tell it."""
    return dict(zip(("Reason", "ReasonCode", "ReasonDetails"), reason_values(reason), strict=True))


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


def plain_facts(fields: Mapping[str, Json]) -> dict[str, Variant]:
    """A JSON object as a{sv}: null is left out, a list is av, a whole number x and any other d."""
    return {key: _plain(shortened(value)) for key, value in fields.items() if value is not None}


def _plain(value: Json) -> Variant:
    if isinstance(value, Mapping):
        return Variant("a{sv}", {key: _plain(each) for key, each in value.items() if each is not None})
    if isinstance(value, list):
        return Variant("av", [_plain(each) for each in value if each is not None])
    return Variant({bool: "b", int: "x", str: "s"}.get(type(value), "d"), value)


def _variant(value: Value) -> Variant:
    if isinstance(value, Reason):
        return Variant("a{sv}", reason_facts(value))
    if isinstance(value, tuple):
        return Variant("av", [_variant(each) for each in value])
    return Variant({bool: "b", int: "x", str: "s"}.get(type(value), "d"), shortened(value))


def int32(value: float) -> int:
    """A whole number that fits `i`; the nearest where it is too large, -1 where it is none."""
    return NO_COUNT if math.isnan(value) else round(max(-_INT32_MAX, min(value, _INT32_MAX)))


def int64(value: float) -> int:
    """A whole number that fits `x`."""
    return NO_COUNT if math.isnan(value) else int(max(-_INT64_MAX, min(value, _INT64_MAX)))


def number(value: float | None) -> float:
    """A number that fits `d`, NaN where it is not known."""
    return NOT_A_NUMBER if value is None or math.isnan(value) else float(shortened(value))


def fitted(signature: str, value: Any) -> Any:
    """A value, or that of a reading, in the range of its type."""
    plain = value.value if isinstance(value, Reading) else value
    fit = _FIT.get(signature)
    return fit(plain) if fit else plain


_FIT: Mapping[str, Callable[[Any], Any]] = {"d": number, "i": int32, "x": int64, "b": bool, "as": list}
STAND_INS: Mapping[str, Any] = {"d": NOT_A_NUMBER, "i": NO_COUNT, "b": False, "s": "", "as": []}


def percent_of(requests: int, part: int) -> float | Unavailable:
    """A part of the requests that have ended, in percent."""
    return 100 * part / requests if requests else NO_REQUEST_YET


def sendable(value: Any) -> Any:
    """The same value with texts that the bus takes and a terminal shows: a NUL would end the connection."""
    if isinstance(value, str):
        return value if value.isprintable() else _shown(value)
    if isinstance(value, Variant):
        return Variant(value.signature, sendable(value.value))
    if isinstance(value, Mapping):
        return {sendable(key): sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(each) for each in value]
    return value


def _shown(text: str) -> str:
    return printable(text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8"), keep="\n")
