"""What the xe and i915 drivers say of an Intel GPU that is awake."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs
from ollama_proxyd.edges.sensors.driver import HwmonOnly, Values
from ollama_proxyd.edges.sensors.hwmon import Chip, highest
from ollama_proxyd.edges.sensors.pci import PciDevice
from ollama_proxyd.edges.sensors.rates import Rate

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
    """hwmon (cards have one), how long its engines were awake, and the reasons of throttling that are heat."""

    def __init__(self, sysfs: Sysfs, device: PciDevice, chips: Sequence[Chip]) -> None:
        self._sysfs = sysfs
        self._driver = device.driver
        self._layout = _LAYOUTS[device.driver]
        self._hwmon = HwmonOnly(chips)
        find = _xe_engines if device.driver == "xe" else _i915_engines
        self._engines = {engine: Rate() for engine in find(sysfs, f"{PCI_DEVICES}/{device.address}")}

    def read(self, at_s: float) -> Values:
        """What it says now."""
        busy = (self._busy(engine, rate, at_s) for engine, rate in self._engines.items())
        return {
            **self._hwmon.read(at_s),
            "utilisation_percent": highest(busy, f"{self._driver} shows no engine"),
            "throttling": self._throttling(at_s),
        }

    def _busy(self, engine: str, rate: Rate, at_s: float) -> Maybe[float]:
        """How much of the time the engine was out of its deepest sleep: at least as much as it worked."""
        idle = rate.step(self._sysfs.read_int(f"{engine}/{self._layout.idle_ms}"), at_s)
        if isinstance(idle, Unavailable):
            return idle
        return Reading(min(100.0, max(0.0, 100.0 - idle.value / 10)), idle.at_s)

    def _throttling(self, at_s: float) -> Maybe[str]:
        absent: Unavailable | None = None if self._engines else Unavailable(f"{self._driver} shows no engine")
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
