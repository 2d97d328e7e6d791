"""One instrument for each driver of an accelerator; hwmon speaks for every other one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs
from ollama_proxyd.edges.sensors.hwmon import Chip, fastest, highest, hottest, scaled
from ollama_proxyd.edges.sensors.pci import PciDevice
from ollama_proxyd.edges.sensors.rates import Rate

Values: TypeAlias = Mapping[str, Any]
"""A Maybe by DeviceState's field; the driver says nothing about a missing field."""

MICRO: Final = 1e-6
_POWER: Final = ("power1_average", "power1_input")
_ENERGY: Final = ("energy1_input", "energy2_input")
"""The whole card, or only its package."""
_NO_TEMPERATURE: Final = Unavailable.because("not_reported", source="its monitor", detail="a temperature")
_NO_FAN: Final = Unavailable.because("no_fan")
_NO_ENERGY: Final = Unavailable.because("not_reported", source="its monitor", detail="energy")
_NO_POWER: Final = Unavailable.because("not_reported", source="its monitor", detail="power")


class Instrument(Protocol):
    """Reads one device that is awake."""

    def read(self, at_s: float) -> Values:
        """What it says now."""


class HwmonOnly:
    """A device that only hwmon describes (nouveau and others)."""

    def __init__(self, chips: Sequence[Chip]) -> None:
        self._chips = chips
        self._energy = {chip: Rate() for chip in chips}

    def read(self, at_s: float) -> Values:
        """Temperature, fan, power and energy."""
        if not self._chips:
            return {}
        heat = hottest((heat for chip in self._chips for heat in chip.heats(at_s)), _NO_TEMPERATURE)
        fans = fastest((fan for chip in self._chips for fan in chip.fans(at_s)), _NO_FAN)
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
        counted = [(chip, name) for chip in self._chips for name in _ENERGY if chip.has(name)]
        energy: Maybe[float] = _NO_ENERGY
        rate: Maybe[float] = _NO_POWER
        if counted:
            chip, name = counted[0]
            counter = chip.number(name)
            rate = self._energy[chip].step(counter, at_s)
            energy = scaled(counter, MICRO, at_s)
        measured = [scaled(chip.number(name), MICRO, at_s) for chip in self._chips for name in _POWER if chip.has(name)]
        return (highest(measured, _NO_POWER) if measured else _in_watts(rate)), energy


def _in_watts(microwatts: Maybe[float]) -> Maybe[float]:
    return microwatts if isinstance(microwatts, Unavailable) else Reading(microwatts.value * MICRO, microwatts.at_s)


class AmdGpu:
    """hwmon, the busy percentage and the memory.

    Integrated graphics use main memory beyond their carve-out (GTT), so there both count; models live in either.
    """

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        self._sysfs = sysfs
        self._path = f"{PCI_DEVICES}/{device.address}"
        self._hwmon = HwmonOnly(chips)
        self._pools = ("vram", "gtt") if device.integrated else ("vram",)

    def read(self, at_s: float) -> Values:
        """What it says now."""
        busy = self._sysfs.read_int(f"{self._path}/gpu_busy_percent")
        return {
            **self._hwmon.read(at_s),
            "utilisation_percent": scaled(busy, 1.0, at_s),
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


class IntelNpu:
    """intel_vpu: its busy time and its memory. It counts on while it sleeps, so that the average stays true."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        self._sysfs = sysfs
        self._path = f"{PCI_DEVICES}/{device.address}"
        self._hwmon = HwmonOnly(chips)
        self._busy = Rate()

    def read(self, at_s: float) -> Values:
        """What it says now."""
        used = self._sysfs.read_int(f"{self._path}/npu_memory_utilization")
        return {
            **self._hwmon.read(at_s),
            "utilisation_percent": self._utilisation(at_s),
            "memory_used_bytes": used if isinstance(used, Unavailable) else Reading(used, at_s),
        }

    def _utilisation(self, at_s: float) -> Maybe[float]:
        busy_us = self._busy.step(self._sysfs.read_int(f"{self._path}/npu_busy_time_us"), at_s)
        if isinstance(busy_us, Unavailable):
            return busy_us
        return Reading(min(100.0, busy_us.value / 10_000), busy_us.at_s)


_THERMAL: Final = ("thermal", "prochot", "ratl", "vr_thermalert")
"""The reasons that are heat; the other ones are limits of power and current, which are no fault."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a driver keeps what, below one graphics engine (GT)."""

    idle_ms: str
    throttled: str
    reason: str


_LAYOUTS: Final[Mapping[str, _Layout]] = {
    "xe": _Layout("gtidle/idle_residency_ms", "freq0/throttle/status", "freq0/throttle/reason_"),
    "i915": _Layout("rc6_residency_ms", "throttle_reason_status", "throttle_reason_"),
}


class IntelGpu:
    """hwmon (on cards), the busy time of its engines, and thermal throttling."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        self._sysfs = sysfs
        self._no_engine = Unavailable.because("not_reported", source=device.driver, detail="any engine")
        self._layout = _LAYOUTS[device.driver]
        self._hwmon = HwmonOnly(chips)
        find = _xe_engines if device.driver == "xe" else _i915_engines
        self._engines = {engine: Rate() for engine in find(sysfs, f"{PCI_DEVICES}/{device.address}")}

    def read(self, at_s: float) -> Values:
        """What it says now."""
        busy = (self._busy(engine, rate, at_s) for engine, rate in self._engines.items())
        return {
            **self._hwmon.read(at_s),
            "utilisation_percent": highest(busy, self._no_engine),
            "throttling": self._throttling(at_s),
        }

    def _busy(self, engine: str, rate: Rate, at_s: float) -> Maybe[float]:
        """How much of the time the engine was out of its deepest sleep: at least as much as it worked."""
        idle = rate.step(self._sysfs.read_int(f"{engine}/{self._layout.idle_ms}"), at_s)
        if isinstance(idle, Unavailable):
            return idle
        return Reading(min(100.0, max(0.0, 100.0 - idle.value / 10)), idle.at_s)

    def _throttling(self, at_s: float) -> Maybe[str]:
        absent: Unavailable | None = None if self._engines else self._no_engine
        hot = []
        for engine in self._engines:
            status = self._sysfs.read_int(f"{engine}/{self._layout.throttled}")
            if isinstance(status, Unavailable):
                absent = absent or status
            elif status:
                hot += self._hot_reasons(engine)
        if absent and not hot:
            return absent
        return Reading(", ".join(sorted(set(hot))), at_s)

    def _hot_reasons(self, engine: str) -> list[str]:
        prefix = f"{engine}/{self._layout.reason}"
        return [reason for reason in _THERMAL if self._sysfs.read_int(f"{prefix}{reason}") == 1]


def _xe_engines(sysfs: Sysfs, path: str) -> Iterable[str]:
    for tile in sysfs.children(path):
        if tile.startswith("tile"):
            yield from _engines(sysfs, f"{path}/{tile}")


def _i915_engines(sysfs: Sysfs, path: str) -> Iterable[str]:
    for card in sysfs.children(f"{path}/drm"):
        if card.startswith("card"):
            yield from _engines(sysfs, f"{path}/drm/{card}/gt")


def _engines(sysfs: Sysfs, path: str) -> Iterable[str]:
    return (f"{path}/{name}" for name in sysfs.children(path) if name.removeprefix("gt").isdigit())
