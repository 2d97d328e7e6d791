"""The processor by the kernel: load, memory, thermal zones, throttling, and energy (RAPL)."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Forbidden, Raw, Sysfs
from ollama_proxyd.edges.sensors.hwmon import Heat, scaled
from ollama_proxyd.edges.sensors.rates import Rate

_CPUS: Final = "devices/system/cpu"
_ZONES: Final = "class/thermal"
_PACKAGE_ZONES: Final = ("x86_pkg_temp", "cpu")
_RAPL_ZONE: Final = re.compile(r"intel-rapl:\d+")
"""A package, AMD's too; intel-rapl-mmio counts the same energy again, and psys that of the whole machine."""
_MICRO: Final = 1e-6


class Load:
    """How busy the processor was since the last reading.

    psutil keeps its own percentage per thread, and our readings come from several threads.
    """

    def __init__(self, times: Callable[[], Any] = psutil.cpu_times) -> None:
        self._times = times
        self._last: tuple[float, float] | None = None

    def step(self, at_s: float) -> Maybe[float]:
        """Percent of all processors together."""
        times = self._times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # part of user and nice
        idle = times.idle + getattr(times, "iowait", 0.0)
        last, self._last = self._last, (total, idle)
        if last is None:
            return Unavailable.because("readings_needed", count=2)
        elapsed = total - last[0]
        if elapsed <= 0:
            return Unavailable.because("no_time_passed")
        return Reading(min(100.0, max(0.0, 100.0 * (1 - (idle - last[1]) / elapsed))), at_s)


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory in bytes."""

    available: Maybe[int]
    used: Maybe[int]
    total: Maybe[int]


def memory(at_s: float, read: Callable[[], Any] = psutil.virtual_memory) -> Memory:
    """Main memory now; what can be taken without swapping is available."""
    now = read()
    return Memory(Reading(now.available, at_s), Reading(now.total - now.available, at_s), Reading(now.total, at_s))


class Throttle:
    """The counters of thermal throttling, one for each package. A rise since the last reading is throttling."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._counters: dict[str, Rate] = {}

    def look(self) -> None:
        """Find the counters; one that was known goes on."""
        self._counters = {path: self._counters.get(path) or Rate() for path in _throttle_counters(self._sysfs)}

    def read(self, at_s: float) -> Maybe[str]:
        """Why the processor is throttled, "" when it is not."""
        if not self._counters:
            whole = self._sysfs.absolute(f"{_CPUS}/cpu0/thermal_throttle")
            return Unavailable.because("nothing_found", detail="counter of throttling", folder=whole)
        before = self._total()
        steps = [rate.step(self._sysfs.read_int(path), at_s) for path, rate in self._counters.items()]
        risen = self._total() - before
        if risen:
            return Reading(f"hot: the throttle counter has risen by {risen}", at_s)
        return next((step for step in steps if isinstance(step, Unavailable)), Reading("", at_s))

    def _total(self) -> int:
        return sum(rate.total for rate in self._counters.values())


class ThermalZones:
    """The processor's thermal zones, for machines without a monitor of the processor."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._zones = tuple(
            (f"{_ZONES}/{zone}/temp", _critical_trip(sysfs, f"{_ZONES}/{zone}"))
            for zone in sysfs.children(_ZONES)
            if zone.startswith("thermal_zone") and _is_package(sysfs, zone)
        )

    def heats(self, at_s: float) -> Iterable[Heat]:
        """The temperature of each zone and its critical trip point."""
        for path, trip in self._zones:
            critical: Maybe[float] = Unavailable.because(
                "not_reported", source=self._sysfs.absolute(path), detail="a critical trip point"
            )
            if trip is not None:
                critical = scaled(self._sysfs.read_int(trip), 1e-3, at_s)
            yield Heat(scaled(self._sysfs.read_int(path), 1e-3, at_s), critical)


def _throttle_counters(sysfs: Sysfs) -> Iterable[str]:
    """One path for each package: its processors all show the same counter."""
    seen = set()
    for cpu in sysfs.children(_CPUS):
        path = f"{_CPUS}/{cpu}/thermal_throttle/package_throttle_count"
        if not cpu.removeprefix("cpu").isdigit() or isinstance(sysfs.read_int(path), Unavailable):
            continue
        package = sysfs.read_text(f"{_CPUS}/{cpu}/topology/physical_package_id")
        if package not in seen:
            seen.add(package)
            yield path


def _is_package(sysfs: Sysfs, zone: str) -> bool:
    kind = sysfs.read_text(f"{_ZONES}/{zone}/type")
    return isinstance(kind, str) and kind.startswith(_PACKAGE_ZONES)


def _critical_trip(sysfs: Sysfs, zone: str) -> str | None:
    for name in sysfs.children(zone):
        if (
            name.startswith("trip_point_")
            and name.endswith("_type")
            and sysfs.read_text(f"{zone}/{name}") == "critical"
        ):
            return f"{zone}/{name.removesuffix('_type')}_temp"
    return None


class Rapl:
    """The energy counters (RAPL) of all packages together, where the administrator lets them be read."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._counters: dict[str, Rate] = {}

    def look(self) -> None:
        """Find the counters; one that was known goes on."""
        zones = (
            f"class/powercap/{name}" for name in self._sysfs.children("class/powercap") if _RAPL_ZONE.fullmatch(name)
        )
        self._counters = {
            zone: self._counters.get(zone) or Rate(_number(self._sysfs, f"{zone}/max_energy_range_uj"))
            for zone in zones
            if _counts_package(self._sysfs, zone)
        }

    def read(self, at_s: float) -> tuple[Maybe[float], Maybe[float]]:
        """Watts since the last reading, and joules since the first one."""
        if not self._counters:
            folder = self._sysfs.absolute("class/powercap")
            absent = Unavailable.because("nothing_found", detail="package counter", folder=folder)
            return absent, absent
        steps = [rate.step(self._counter(zone), at_s) for zone, rate in self._counters.items()]
        return _sum(steps, at_s), self._energy(steps, at_s)

    def _counter(self, zone: str) -> Raw[int]:
        path = f"{zone}/energy_uj"
        counter = self._sysfs.read_int(path)
        if isinstance(counter, Forbidden):
            return Forbidden.because("file_root_only", file=self._sysfs.absolute(path))
        return counter

    def _energy(self, steps: Sequence[Maybe[float]], at_s: float) -> Maybe[float]:
        forbidden = next((step for step in steps if isinstance(step, Forbidden)), None)
        return forbidden or Reading(sum(rate.total for rate in self._counters.values()) * _MICRO, at_s)


def _sum(steps: Sequence[Maybe[float]], at_s: float) -> Maybe[float]:
    total = 0.0
    for step in steps:
        if isinstance(step, Unavailable):
            return step
        total += step.value * _MICRO
    return Reading(total, at_s)


def _counts_package(sysfs: Sysfs, zone: str) -> bool:
    name = sysfs.read_text(f"{zone}/name")
    return isinstance(name, str) and name.startswith("package")


def _number(sysfs: Sysfs, path: str) -> int | None:
    number = sysfs.read_int(path)
    return None if isinstance(number, Unavailable) else number
