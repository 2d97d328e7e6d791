"""What-if questions as a{sv}: one flat dictionary of the request, its hints and the machine."""

from collections.abc import Mapping, Sequence
from typing import Any

from dbus_fast import DBusError, Variant

from ollama_proxyd.core import hints, what_if
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fields import check_keys
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.edges.dbus_api.errors import UNKNOWN_MODE, invalid

_RENAMED = {"power_efficient": "prefer_power_efficiency"}

_PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in what_if.REQUEST},
    **{_RENAMED.get(name, name): ("hints", name) for name in hints.FIELDS},
    **{name: ("system", name) for name in (*what_if.SYSTEM, "devices")},
}
"""Where the core's question has what a key says."""

_KEYS = {".".join(place): key for key, place in _PLACES.items()}
_EMPTY_IS_SAID = "performance_degraded"


def read_question(asked: Mapping[str, Variant], present: Sequence[DeviceState]) -> what_if.WhatIf:
    """The question; DBusError names the key at fault. An empty text says nothing, for D-Bus has no null."""
    try:
        check_keys(asked, _PLACES)
        return what_if.read_what_if(_nested(asked), present)
    except ProxyError as error:
        message = error.named(_KEYS).message
        raise DBusError(UNKNOWN_MODE, message) if error.param == "mode" else invalid(message) from None


def _nested(asked: Mapping[str, Variant]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, variant in asked.items():
        value = plain(variant)
        if value == "" and key != _EMPTY_IS_SAID:
            continue
        *group, name = _PLACES[key]
        (nested.setdefault(group[0], {}) if group else nested)[name] = value
    return nested


def plain(value: Any) -> Any:
    """What a variant holds, and those within it."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # numbers may be of any numeric type
    return {name: plain(each) for name, each in value.items()} if isinstance(value, dict) else value
