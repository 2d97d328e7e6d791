"""The devices' heat, fans and throttling in D-Bus's words."""

from collections.abc import Iterable
from statistics import fmean

from dbus_fast import Variant

from ollama_proxyd.core.readings import (
    DeviceState,
    Maybe,
    PowerState,
    Reading,
    SystemState,
    Unavailable,
    known,
)
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.dbus_api.values import Facts

_NO_THERMOMETER = Unavailable.because("no_device_reports", detail="its temperature")
_NO_FAN = Unavailable.because("no_device_reports", detail="the speed of a fan with a known maximum")
_NOBODY_SAYS = Unavailable.because("no_device_reports", detail="whether it is throttled")


def mean_temperature(system: SystemState) -> Maybe[float]:
    """The mean of the devices' temperatures."""
    return _mean((device.temperature_c for device in system.devices), _NO_THERMOMETER)


def mean_fan(system: SystemState) -> Maybe[float]:
    """The mean of the devices' fans in percent; of devices that share a fan each counts."""
    return _mean((device.fan_percent for device in system.devices), _NO_FAN)


def _mean(readings: Iterable[Maybe[float]], otherwise: Unavailable) -> Maybe[float]:
    there = [reading for reading in readings if isinstance(reading, Reading)]
    if not there:
        return otherwise
    return Reading(fmean(each.value for each in there), max(each.at_s for each in there))


def throttling(system: SystemState) -> frozenset[str]:
    """The ids of the devices that are known to be throttled."""
    return frozenset(device.id for device in system.devices if known(device.throttling))


def any_throttling(system: SystemState) -> Maybe[bool]:
    """Whether any device is throttled, as far as devices report."""
    there = [device.throttling for device in system.devices if isinstance(device.throttling, Reading)]
    if not there:
        return _NOBODY_SAYS
    return Reading(bool(throttling(system)), max(each.at_s for each in there))


def read_at_s(device: DeviceState) -> float | None:
    """When something was read of a device last, on the monotonic clock."""
    parts = (getattr(device, name) for name in device.__slots__)
    return max((part.at_s for part in parts if isinstance(part, Reading)), default=None)


def device_facts(device: DeviceState) -> Facts:
    """Everything that is known of a device."""
    facts = Facts()
    facts.say("id", "s", device.id)
    facts.say("hardware", "s", device.hardware.value)
    facts.say("name", "s", device.name)
    if device.power_state is PowerState.UNKNOWN:
        facts.lack("asleep", Reason("sleep_unknown"))
    else:
        facts.say("asleep", "b", device.power_state is PowerState.ASLEEP)
    facts.read("temperature", "d", device.temperature_c)
    facts.read("critical_temperature", "d", device.critical_c)
    facts.read("fan_speed", "i", device.fan_rpm)
    facts.read("fan_percent", "i", device.fan_percent)
    facts.read("power_draw", "d", device.power_w)
    facts.read("utilization", "i", device.utilisation_percent)
    facts.read("memory_used", "x", device.memory_used_bytes)
    facts.read("memory_total", "x", device.memory_total_bytes)
    facts.read("throttling", "b", device.throttling)
    facts.read("throttling_reason", "s", device.throttling)
    return facts


def all_devices(system: SystemState) -> list[dict[str, Variant]]:
    """Everything that is known of every device."""
    return [device_facts(device).body() for device in system.devices]
