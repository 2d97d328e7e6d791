"""One instrument for each driver of an accelerator; hwmon speaks for every other one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from ollama_proxyd.core.plausibility import plausible, within_power_limit
from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs, scaled
from ollama_proxyd.edges.sensors.hwmon import Chip, fastest, highest, hottest
from ollama_proxyd.edges.sensors.pci import PciDevice
from ollama_proxyd.edges.sensors.rates import Rate

Values: TypeAlias = Mapping[str, Any]
"""A Maybe by DeviceState's field; the driver says nothing about a missing field."""

MICRO: Final = 1e-6
_POWER: Final = ("power1_average", "power1_input")
_LIMITS: Final = ("power1_cap", "power1_max", "power1_rated_max")
_ENERGY: Final = ("energy1_input", "energy2_input")
"""The whole card, or only its package."""
_NO_TEMPERATURE: Final = Unavailable.because("not_reported", source="its monitor", detail="a temperature")
_NO_FAN: Final = Unavailable.because("no_fan")
_NO_ENERGY: Final = Unavailable.because("not_reported", source="its monitor", detail="energy")
_NO_POWER: Final = Unavailable.because("not_reported", source="its monitor", detail="power")


class Instrument:
    """Reads one device that is awake; this one only through hwmon (nouveau, amdxdna and others)."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        self._sysfs = sysfs
        self._path = f"{PCI_DEVICES}/{device.address}"
        self._chips = chips
        self._energy = Rate(unit=MICRO)

    def read(self, at_s: float) -> Values:
        """What it says now."""
        if not self._chips:
            return {}
        heat = hottest((heat for chip in self._chips for heat in chip.heats(at_s)), _NO_TEMPERATURE)
        fans = fastest(self._chips, at_s, _NO_FAN)
        power, energy = self._power(at_s)
        return {
            "temperature_c": heat.temperature_c,
            "critical_c": heat.critical_c,
            "fan_rpm": fans.rpm,
            "fan_percent": fans.percent,
            "power_w": power,
            "energy_j": energy,
        }

    def _power(self, at_s: float) -> tuple[Maybe[float], Maybe[float]]:
        """Watts as the driver averages them, or from its energy counter."""
        power: Maybe[float] = _NO_POWER
        energy: Maybe[float] = _NO_ENERGY
        for chip, name in self._files(_ENERGY)[:1]:
            counter = chip.number(name)
            power, energy = self._energy.step(counter, at_s), scaled(counter, MICRO, at_s)
        measured = [scaled(chip.number(name), MICRO, at_s) for chip, name in self._files(_POWER)]
        power = highest([plausible("power_w", each) for each in measured], power)
        for chip, name in self._files(_LIMITS)[:1]:
            power = within_power_limit(power, scaled(chip.number(name), MICRO, at_s))
        return power, energy

    def _files(self, names: Sequence[str]) -> Sequence[tuple[Chip, str]]:
        return [(chip, name) for chip in self._chips for name in names if chip.has(name)]


class AmdGpu(Instrument):
    """hwmon, the busy percentage and the memory.

    Integrated graphics use main memory beyond their carve-out (GTT), so there both count; models live in either.
    """

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        super().__init__(sysfs, device, chips)
        self._pools = ("vram", "gtt") if device.integrated else ("vram",)

    def read(self, at_s: float) -> Values:
        """What it says now."""
        return {
            **super().read(at_s),
            "utilisation_percent": self._sysfs.reading(f"{self._path}/gpu_busy_percent", at_s),
            "memory_used_bytes": self._memory("used", at_s),
            "memory_total_bytes": self._memory("total", at_s),
            "throttling": Unavailable.because("throttling_unreadable", driver="amdgpu"),
        }

    def _memory(self, what: str, at_s: float) -> Maybe[int]:
        amount = 0
        for pool in self._pools:
            part = self._sysfs.read_int(f"{self._path}/mem_info_{pool}_{what}")
            if isinstance(part, Unavailable):
                return part
            amount += part
        return Reading(amount, at_s)


class IntelNpu(Instrument):
    """intel_vpu: its busy time and its memory. It counts on while it sleeps, so that the average stays true."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        super().__init__(sysfs, device, chips)
        self._busy_percent = Rate(unit=100 * MICRO)

    def read(self, at_s: float) -> Values:
        """What it says now."""
        busy = self._busy_percent.step(self._sysfs.read_int(f"{self._path}/npu_busy_time_us"), at_s)
        return {
            **super().read(at_s),
            "utilisation_percent": replace(busy, value=min(100.0, busy.value)) if isinstance(busy, Reading) else busy,
            "memory_used_bytes": scaled(self._sysfs.read_int(f"{self._path}/npu_memory_utilization"), 1, at_s),
        }


_THERMAL: Final = ("thermal", "prochot", "ratl", "vr_thermalert")
"""The reasons that are heat; the other ones are limits of power and current, which are no fault."""


@value
class _Layout:
    """Where a driver keeps its graphics engines (GT), and what below each of them."""

    engines: str
    idle_ms: str
    throttled: str
    reason: str


_LAYOUTS: Final[Mapping[str, _Layout]] = {
    "xe": _Layout("tile*/gt[0-9]*", "gtidle/idle_residency_ms", "freq0/throttle/status", "freq0/throttle/reason_"),
    "i915": _Layout("drm/card*/gt/gt[0-9]*", "rc6_residency_ms", "throttle_reason_status", "throttle_reason_"),
}


class IntelGpu(Instrument):
    """hwmon (on cards), the busy time of its engines, and thermal throttling."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        super().__init__(sysfs, device, chips)
        self._no_engine = Unavailable.because("not_reported", source=device.driver, detail="any engine")
        self._layout = _LAYOUTS[device.driver]
        engines = sysfs.glob(f"{self._path}/{self._layout.engines}")
        self._idle_percent = {engine: Rate(unit=0.1) for engine in engines}

    def read(self, at_s: float) -> Values:
        """What it says now."""
        busy = (self._busy(engine, idle, at_s) for engine, idle in self._idle_percent.items())
        return {
            **super().read(at_s),
            "utilisation_percent": highest(busy, self._no_engine),
            "throttling": self._throttling(at_s),
        }

    def _busy(self, engine: str, idle_percent: Rate, at_s: float) -> Maybe[float]:
        """How much of the time the engine was out of its deepest sleep: at least as much as it worked."""
        idle = idle_percent.step(self._sysfs.read_int(f"{engine}/{self._layout.idle_ms}"), at_s)
        if isinstance(idle, Unavailable):
            return idle
        return Reading(min(100.0, max(0.0, 100.0 - idle.value)), idle.at_s)

    def _throttling(self, at_s: float) -> Maybe[str]:
        absent: Unavailable | None = None if self._idle_percent else self._no_engine
        hot = set()
        for engine in self._idle_percent:
            status = self._sysfs.read_int(f"{engine}/{self._layout.throttled}")
            if isinstance(status, Unavailable):
                absent = absent or status
            elif status:
                prefix = f"{engine}/{self._layout.reason}"
                hot |= {reason for reason in _THERMAL if self._sysfs.read_int(f"{prefix}{reason}") == 1}
        if absent and not hot:
            return absent
        return Reading(", ".join(sorted(hot)), at_s)


INSTRUMENTS: Final[Mapping[str, type[Instrument]]] = {
    "amdgpu": AmdGpu,
    "xe": IntelGpu,
    "i915": IntelGpu,
    "intel_vpu": IntelNpu,
}
"""By driver; of any other one, what `Instrument` reads."""
