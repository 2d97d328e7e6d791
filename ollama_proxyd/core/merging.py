"""Merges the reports of several sensors into one state of the machine."""

from collections.abc import Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Final

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.readings import (
    DEVICE_READINGS,
    NO_SENSOR,
    DeviceState,
    Maybe,
    PowerState,
    Reading,
    Sensed,
    SystemState,
    Unavailable,
)

_READINGS: Final = attrgetter(*DEVICE_READINGS)
_DRAWN: Final = frozenset({"energy_j", "power_w"})
_PARTS: Final = tuple(field.name for field in fields(SystemState) if field.name != "devices")


def merge(said: Sequence[Sensed], before: SystemState, specs: Sequence[BackendSpec]) -> SystemState:
    """The machine after what sensors said last; a value that did not change stays the reading that it was.

    The hottest device and the fastest fan are those of the backends' devices, else of all. Without a fan speed there,
    the machine's own fan counts, since it cools them too.
    """
    systems = [sensed.system for sensed in said]
    parts = {name: _best([each[name] for each in systems if name in each]) for name in _PARTS}
    was = {device.id: device for device in before.devices}
    devices = tuple(_device(each, was.get(each[0].id)) for each in _by_id(said))
    used = {id(device_of(spec, devices)) for spec in specs}
    concerned = [device for device in devices if id(device) in used] or devices
    parts["hottest_c"] = _highest([*(device.temperature_c for device in concerned), parts["hottest_c"]])
    parts["fan_percent"] = _fan_percent(concerned, devices, parts["fan_percent"])
    kept = {name: _kept(part, getattr(before, name)) for name, part in parts.items()}
    return SystemState(**kept, devices=devices)


def without_readings(sensed: Sensed, gone: Unavailable) -> Sensed:
    """What a sensor said, with a reason in the place of every reading; that its devices are there stays known."""
    parts = {name: _gone(part, gone) for name, part in sensed.system.items()}
    return Sensed(parts, tuple(_device_without_readings(device, gone) for device in sensed.devices))


def _device_without_readings(device: DeviceState, gone: Unavailable) -> DeviceState:
    parts: dict[str, Any] = {name: _gone(getattr(device, name), gone) for name in DEVICE_READINGS}
    return replace(device, power_state=PowerState.UNKNOWN, **parts)


def _gone(part: Maybe[Any], gone: Unavailable) -> Maybe[Any]:
    return gone if isinstance(part, Reading) else part


def _by_id(said: Sequence[Sensed]) -> list[list[DeviceState]]:
    found: dict[str, list[DeviceState]] = {}
    for sensed in said:
        for device in sensed.devices:
            found.setdefault(device.id, []).append(device)
    return [found[device_id] for device_id in sorted(found)]


def _device(said: list[DeviceState], before: DeviceState | None) -> DeviceState:
    """A reading of what is drawn is a new one also where it says the same: it speaks of the time since the last."""
    parts: dict[str, Any] = {}
    each_said = [_READINGS(device) for device in said]
    for name, *told in zip(DEVICE_READINGS, *each_said, strict=True):
        part = told[0] if len(told) == 1 else _best(told)
        parts[name] = part if before is None or name in _DRAWN else _kept(part, getattr(before, name))
    hardware = (device.hardware for device in said if device.hardware is not Hardware.UNKNOWN)
    power_state = (device.power_state for device in said if device.power_state is not PowerState.UNKNOWN)
    return replace(
        said[0],
        hardware=next(hardware, Hardware.UNKNOWN),
        name=next((device.name for device in said if device.name), ""),
        power_state=next(power_state, PowerState.UNKNOWN),
        **parts,
    )


def _best(parts: Sequence[Maybe[Any]]) -> Maybe[Any]:
    """The latest reading, else the first reason that says more than that there is no sensor."""
    if len(parts) == 1:
        return parts[0]
    best: Maybe[Any] = NO_SENSOR
    for part in parts:
        if isinstance(part, Unavailable):
            if best is NO_SENSOR:
                best = part
        elif isinstance(best, Unavailable) or part.at_s > best.at_s:
            best = part
    return best


def _highest(parts: Sequence[Maybe[float]]) -> Maybe[float]:
    """The highest reading; the sample before it is the highest of those before, since the highest part may change."""
    readings = [part for part in parts if isinstance(part, Reading)]
    if not readings:
        return _best(parts)
    highest = max(readings, key=_value)
    if all(each.before is None for each in readings):
        return highest
    before = [each for each in (part.before or part for part in readings) if isinstance(each, Reading)]
    return replace(highest, before=max(before, key=_value) if before else highest.before)


def _value(reading: Reading[float]) -> float:
    return reading.value


def _fan_percent(
    concerned: Sequence[DeviceState], devices: Sequence[DeviceState], otherwise: Maybe[float]
) -> Maybe[float]:
    """The fastest fan in percent; where none is known, the reason of a fan that is there before that of no fan."""
    near = _highest([*(device.fan_percent for device in concerned), otherwise])
    anywhere = _highest([device.fan_percent for device in devices])
    if isinstance(near, Reading) or isinstance(anywhere, Reading):
        return near if isinstance(near, Reading) else anywhere
    turning = (device for device in (*concerned, *devices) if isinstance(device.fan_rpm, Reading))
    return next((device.fan_percent for device in turning), near)


def _kept(now: Maybe[Any], before: Maybe[Any]) -> Maybe[Any]:
    if now is before:
        return before
    if isinstance(now, Reading) and isinstance(before, Reading) and _said(now) == _said(before):
        return before
    return now


def _said(reading: Reading[Any]) -> tuple[Any, Any]:
    earlier = reading.before
    return reading.value, earlier.value if isinstance(earlier, Reading) else earlier
