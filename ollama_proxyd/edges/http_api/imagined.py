"""The machine as a question imagines it: what is left out is unknown."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.strict_json import check_keys, to_struct

_NOT_SAID = Unavailable("not said in this question")
_IMAGINED_AT_S = 0.0
_CLASSES = {hardware.value: hardware for hardware in Hardware if hardware is not Hardware.UNKNOWN}
_POWER_STATES = {None: PowerState.UNKNOWN, True: PowerState.ASLEEP, False: PowerState.AWAKE}

Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]
Celsius: TypeAlias = Annotated[float, Meta(ge=-100, le=1000)]


class ImaginedSystem(msgspec.Struct):
    """The parts of the machine's state on which a decision depends."""

    on_battery: bool | None = None
    battery_percent: Percent | None = None
    hottest_c: Celsius | None = None
    fan_percent: Percent | None = None
    power_profile: Literal["power-saver", "balanced", "performance"] | None = None
    performance_degraded: str | None = None
    quiet_hours: bool | None = None
    games: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    devices: dict[str, dict[str, Json]] = {}


class ImaginedDevice(msgspec.Struct):
    """The parts of a device's state on which a decision depends."""

    asleep: bool | None = None
    temperature_c: Celsius | None = None
    critical_c: Celsius | None = None
    slope_c_per_s: Annotated[float, Meta(ge=-1000, le=1000)] | None = None
    fan_percent: Percent | None = None
    throttling: str | None = None


def imagine(values: Mapping[str, Json], present: Sequence[DeviceState]) -> SystemState:
    """The machine of a question; devices go by the id of one that is present, or by their class."""
    check_keys(values, ImaginedSystem.__struct_fields__, "system")
    imagined = to_struct(values, ImaginedSystem, "system")
    devices = tuple(_device(name, said, present) for name, said in imagined.devices.items())
    return SystemState(**_parts(imagined, without="devices"), devices=devices)


def _device(name: str, values: dict[str, Json], present: Sequence[DeviceState]) -> DeviceState:
    where = f"system.devices.{name[:100]}"
    check_keys(values, ImaginedDevice.__struct_fields__, where)
    imagined = to_struct(values, ImaginedDevice, where)
    known = next((device for device in present if device.id == name), None) or _of_class(name, present)
    if known is None:
        names = ", ".join(dict.fromkeys([*(device.id for device in present), *_CLASSES]))
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{where} is not a device; there are {names}", param=where)
    power_state = _POWER_STATES[imagined.asleep]
    return DeviceState(known.id, known.hardware, known.name, power_state, **_parts(imagined, without="asleep"))


def _of_class(name: str, present: Sequence[DeviceState]) -> DeviceState | None:
    """The device of a class that is present, or one that takes its place."""
    if name not in _CLASSES:
        return None
    of_class = (device for device in present if device.hardware is _CLASSES[name])
    return next(of_class, DeviceState(name, _CLASSES[name], name))


def _parts(imagined: msgspec.Struct, without: str) -> dict[str, Any]:
    return {name: _part(getattr(imagined, name)) for name in imagined.__struct_fields__ if name != without}


def _part(value: Json) -> Maybe[Json]:
    return _NOT_SAID if value is None else Reading(value, _IMAGINED_AT_S)
