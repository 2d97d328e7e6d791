"""What-if questions: a request that is not sent, under a mode and a machine that may be imagined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ollama_proxyd.core import hints
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import Reader, between, count, flag, mapping, one_of, read_fields, text
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.requests import Hints, Json, Operation

NOT_SAID = Unavailable.because("not_asked_for")

_PERCENT = between(0, 100)
_CELSIUS = between(-100, 1000)
_TOKENS = count(10**9)
_CLASSES = {hardware.value: hardware for hardware in Hardware if hardware is not Hardware.UNKNOWN}

REQUEST: Mapping[str, Reader] = {
    "model": text,
    "prompt_tokens": _TOKENS,
    "max_tokens": _TOKENS,
    "operation": one_of({operation.value: operation for operation in Operation}),
    "needs_vision": flag,
}
SYSTEM: Mapping[str, Reader] = {
    "on_battery": flag,
    "battery_percent": _PERCENT,
    "hottest_c": _CELSIUS,
    "fan_percent": _PERCENT,
    "power_profile": one_of({word: word for word in ("power-saver", "balanced", "performance")}),
    "performance_degraded": text,
    "quiet_hours": flag,
    "games": count(10**6),
    "devices": mapping,
}
DEVICE: Mapping[str, Reader] = {
    "asleep": flag,
    "temperature_c": _CELSIUS,
    "critical_c": _CELSIUS,
    "slope_c_per_s": between(-1000, 1000),
    "fan_percent": _PERCENT,
    "throttling": text,
}
_QUESTION: Mapping[str, Reader] = {
    **REQUEST,
    "mode": lambda value: parse_mode(text(value)),
    "hints": mapping,
    "system": mapping,
}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The question; None stands for the mode or the machine as it is."""

    query: Query
    mode: Mode | None
    system: SystemState | None


def read_what_if(values: Mapping[str, Json], present: Sequence[DeviceState]) -> WhatIf:
    """The question of a client; a null is as good as nothing, and ProxyError names the key at fault."""
    asked = read_fields(_given(values), _QUESTION)
    hinted = read_fields(asked.pop("hints", {}), hints.FIELDS, "hints")
    mode, system = asked.pop("mode", None), asked.pop("system", None)
    return WhatIf(
        query=Query(**{"model": None, **asked}, hints=Hints(**hinted)),
        mode=mode,
        system=None if system is None else _machine(system, present),
    )


def _machine(values: Mapping[str, Json], present: Sequence[DeviceState]) -> SystemState:
    """The imagined machine: what is left out is unknown."""
    said = read_fields(_given(values), SYSTEM, "system")
    devices = tuple(_device(name, given, present) for name, given in said.pop("devices", {}).items())
    return SystemState(**_readings(said, (name for name in SYSTEM if name != "devices")), devices=devices)


def _device(name: str, values: Json, present: Sequence[DeviceState]) -> DeviceState:
    """A device by the id of one that is present, or by its class."""
    where = f"system.devices.{name[:100]}"
    if not isinstance(values, Mapping):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{where} must be an object", param=where)
    said = read_fields(_given(values), DEVICE, where)
    known = next((device for device in present if device.id == name), None) or _of_class(name, present)
    if known is None:
        names = ", ".join(dict.fromkeys([*(device.id for device in present), *_CLASSES]))
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{where} is not a device; there are {names}", param=where)
    states = {None: PowerState.UNKNOWN, True: PowerState.ASLEEP, False: PowerState.AWAKE}
    power_state = states[said.pop("asleep", None)]
    readings = _readings(said, (part for part in DEVICE if part != "asleep"))
    return DeviceState(known.id, known.hardware, known.name, power_state, **readings)


def _of_class(name: str, present: Sequence[DeviceState]) -> DeviceState | None:
    """The present device of a class, or one in its place."""
    if name not in _CLASSES:
        return None
    of_class = (device for device in present if device.hardware is _CLASSES[name])
    return next(of_class, DeviceState(name, _CLASSES[name], name))


def _given(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def _readings(said: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: Reading(said[name], at_s=0.0) if name in said else NOT_SAID for name in names}
