"""The devices' heat, fans and throttling in D-Bus's words."""

from collections.abc import Iterable
from typing import Any

from ollama_proxyd.core.backend_status import asleep
from ollama_proxyd.core.readings import DEVICE_READINGS, DeviceState, Maybe, Reading, SystemState, Unavailable, known
from ollama_proxyd.core.units import spelled
from ollama_proxyd.core.values import value

_TYPES = {"memory_used_bytes": "x", "memory_total_bytes": "x", "throttling": "s"}
_NO_THERMOMETER = Unavailable.because("no_device_reports", detail="its temperature")
_NO_FAN = Unavailable.because("no_device_reports", detail="the speed of a fan with a known maximum")
_NONE_TELLS = Unavailable.because("no_device_reports", detail="whether it is throttled")


@value
class OverallHeat:
    """All devices together: mean degrees Celsius, mean percent of the fans, and whether any is throttled.

    Of devices that share a fan each counts.
    """

    average_temperature: Maybe[float]
    average_fan_speed: Maybe[float]
    throttling_active: Maybe[bool]


def overall_heat(system: SystemState) -> OverallHeat:
    """The devices of the machine together."""
    devices = system.devices
    return OverallHeat(
        average_temperature=_mean((device.temperature_c for device in devices), _NO_THERMOMETER),
        average_fan_speed=_mean((device.fan_percent for device in devices), _NO_FAN),
        throttling_active=_any_throttling(system),
    )


def throttling(system: SystemState) -> frozenset[str]:
    """The ids of the devices that are known to be throttled."""
    return frozenset(device.id for device in system.devices if known(device.throttling))


def read_at_s(device: DeviceState) -> float | None:
    """When something was read of a device last, on the monotonic clock."""
    parts = (getattr(device, name) for name in DEVICE_READINGS)
    return max((part.at_s for part in parts if isinstance(part, Reading)), default=None)


def device_rows(device: DeviceState) -> dict[str, tuple[str, Any]]:
    """Everything that is known of a device, by the keys that it has over HTTP."""
    readings = {spelled(name): (_TYPES.get(name, "d"), getattr(device, name)) for name in DEVICE_READINGS}
    return _identity(device) | readings


def old_device_rows(device: DeviceState) -> dict[str, tuple[str, Any]]:
    """A device by the keys that scripts know from GetHardwareState."""
    return {
        **_identity(device),
        "temperature": ("d", device.temperature_c),
        "critical_temperature": ("d", device.critical_c),
        "fan_rpm": ("i", device.fan_rpm),
        "fan_percent": ("i", device.fan_percent),
        "power_draw": ("d", device.power_w),
        "utilization": ("i", device.utilisation_percent),
        "memory_used": ("x", device.memory_used_bytes),
        "memory_total": ("x", device.memory_total_bytes),
        "throttling": ("s", device.throttling),
    }


def _identity(device: DeviceState) -> dict[str, tuple[str, Any]]:
    return {
        "id": ("s", device.id),
        "hardware": ("s", device.hardware.value),
        "name": ("s", device.name),
        "asleep": ("b", asleep(device)),
    }


def _mean(readings: Iterable[Maybe[float]], otherwise: Unavailable) -> Maybe[float]:
    there = [reading for reading in readings if isinstance(reading, Reading)]
    if not there:
        return otherwise
    return Reading(sum(each.value for each in there) / len(there), max(each.at_s for each in there))


def _any_throttling(system: SystemState) -> Maybe[bool]:
    there = [device.throttling for device in system.devices if isinstance(device.throttling, Reading)]
    return Reading(any(each.value for each in there), max(each.at_s for each in there)) if there else _NONE_TELLS
