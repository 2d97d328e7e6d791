"""What-if questions: a request that is not sent, under a mode and a machine that may be imagined."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fields import check_keys, path, read_fields, read_group, wrong
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.hints import FIELDS as HINTS
from ollama_proxyd.core.hints import read_hint
from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.core.options import Like, Takes, Within
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints, Json, Operation
from ollama_proxyd.core.units import spelled
from ollama_proxyd.core.values import value

NOT_SAID = Unavailable.because("not_asked_for")

_FLAG, _TEXT = Takes(bool), Takes(str)
_ANY_TEXT = Takes(str, form=Like("[\\s\\S]*", "text"))
_PERCENT, _CELSIUS = Takes(float, Within(0, 100)), Takes(float, Within(-100, 1000))
_TOKENS = Takes(int, Within(0, 10**9))
_BATTERY_STATES = ("charging", "discharging", "empty", "fully-charged", "pending-charge", "pending-discharge")
_PROFILES = ("power-saver", "balanced", "performance")


def _one_of(words: Sequence[str]) -> Takes:
    return Takes(str, form=Like("|".join(words), f"one of {', '.join(words)}"))


_CLASSES = {hardware.value: hardware for hardware in Hardware if hardware is not Hardware.UNKNOWN}
_POWER_STATES = {None: PowerState.UNKNOWN, True: PowerState.ASLEEP, False: PowerState.AWAKE}

REQUEST: Mapping[str, Takes] = {
    "model": _TEXT,
    "prompt_tokens": _TOKENS,
    "max_tokens": _TOKENS,
    "operation": Takes(Operation),
    "needs_vision": _FLAG,
    "has_image_urls": _FLAG,
    "mode": _TEXT,
    "frontend": _TEXT,
}
_SYSTEM: Mapping[str, Takes] = {
    "on_battery": _FLAG,
    "battery_percent": _PERCENT,
    "hottest_c": _CELSIUS,
    "fan_percent": _PERCENT,
    "battery_state": _one_of(_BATTERY_STATES),
    "power_profile": _one_of(_PROFILES),
    "performance_degraded": _ANY_TEXT,
    "quiet_hours": _FLAG,
    "games": Takes(int, Within(0, 10**6)),
}
_DEVICE: Mapping[str, Takes] = {
    "asleep": _FLAG,
    "temperature_c": _CELSIUS,
    "critical_c": _CELSIUS,
    "slope_c_per_s": Takes(float, Within(-1000, 1000)),
    "fan_percent": _PERCENT,
    "throttling": _ANY_TEXT,
}
SYSTEM, DEVICE = ({spelled(name): takes for name, takes in table.items()} for table in (_SYSTEM, _DEVICE))
"""The same by the keys of a question."""
_GROUPS = ("hints", "system")


@value
class WhatIf:
    """The question; None stands for the mode or the machine as it is."""

    query: Query
    mode: Mode | None
    system: SystemState | None
    frontend: str | None = None
    """The name of the front end that the request would come to, None for the daemon's own address."""


def read_what_if(values: Mapping[str, Json], present: Sequence[DeviceState]) -> WhatIf:
    """The question of a client; ProxyError names the key at fault."""
    check_keys(values, (*REQUEST, *_GROUPS))
    asked = read_fields({name: value for name, value in values.items() if name not in _GROUPS}, REQUEST)
    frontend = asked.pop("frontend", None)
    mode, operation = asked.pop("mode", None), Operation(asked.pop("operation", Operation.CHAT))
    system = read_group(values, "system")
    return WhatIf(
        query=Query(
            **{"model": None, **asked},
            operation=operation,
            may_fetch_here=True,
            hints=_hints(read_group(values, "hints") or {}),
        ),
        mode=None if mode is None else _mode(mode),
        system=None if system is None else _machine(system, present),
        frontend=frontend,
    )


def with_unused(decision: Decision, imagined: SystemState | None, specs: Iterable[BackendSpec]) -> Decision:
    """The decision, with those imagined devices that no backend is known to run on."""
    if imagined is None or not imagined.devices:
        return decision
    used = [device_of(spec, imagined.devices) for spec in specs]
    unused = ", ".join(device.id for device in imagined.devices if device not in used)
    told = Reason("devices_unused", reason=decision.reason, devices=unused)
    return replace(decision, reason=told) if unused else decision


def _hints(values: Mapping[str, Json]) -> Hints:
    check_keys(values, HINTS, "hints")
    return Hints(**{name: read_hint(name, value, path("hints", name)) for name, value in values.items()})


def _mode(name: str) -> Mode:
    try:
        return parse_mode(name)
    except ValueError as error:
        raise wrong("mode", str(error)) from None


def _machine(values: Mapping[str, Json], present: Sequence[DeviceState]) -> SystemState:
    """The imagined machine: what is left out is unknown."""
    check_keys(values, (*SYSTEM, "devices"), "system")
    said = read_fields({name: value for name, value in values.items() if name != "devices"}, SYSTEM, "system")
    named = read_group(values, "devices", "system") or {}
    devices = tuple(_device(name, read_group(named, name, "system.devices") or {}, present) for name in named)
    return SystemState(**_readings(said, _SYSTEM), devices=devices)


def _device(name: str, values: Mapping[str, Json], present: Sequence[DeviceState]) -> DeviceState:
    """A device by the id of one that is present, or by its class."""
    where = path("system.devices", name)
    said = read_fields(values, DEVICE, where)
    known = next((device for device in present if device.id == name), None) or _of_class(name, present)
    if known is None:
        names = ", ".join(dict.fromkeys([*(device.id for device in present), *_CLASSES]))
        raise wrong(where, f"is not a device; there are {names}")
    power_state = _POWER_STATES[said.get("asleep")]
    readings = _readings(said, (part for part in _DEVICE if part != "asleep"))
    return DeviceState(known.id, known.hardware, known.name, power_state, **readings)


def _of_class(name: str, present: Sequence[DeviceState]) -> DeviceState | None:
    """The present device of a class, or one in its place."""
    if name not in _CLASSES:
        return None
    of_class = (device for device in present if device.hardware is _CLASSES[name])
    return next(of_class, DeviceState(name, _CLASSES[name], name))


def _readings(said: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    keys = {name: spelled(name) for name in names}
    return {name: Reading(said[key], at_s=0.0) if key in said else NOT_SAID for name, key in keys.items()}
