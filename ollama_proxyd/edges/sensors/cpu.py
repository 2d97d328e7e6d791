"""The processor as one device: its package's heat, the machine's fans, power, throttling, load and memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.plausibility import plausible
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Forbidden, Raw, Sysfs
from ollama_proxyd.edges.sensors import proc
from ollama_proxyd.edges.sensors.hwmon import CPU, CPU_CHIPS, MILLI, Chip, Heat, fastest, find_chips, hottest
from ollama_proxyd.edges.sensors.rates import Rate
from ollama_proxyd.edges.sensors.sampled import Discovered

_CPUS: Final = "devices/system/cpu"
_PACKAGE_ZONES: Final = ("x86_pkg_temp", "cpu")
_MICRO: Final = 1e-6
_FIRST_LINES: Final = 4096
"""Enough of /proc/cpuinfo for the first processor; each further one would be asked for its clock."""


class PackageHeat:
    """The temperature of the processor's package, which everything integrated in it shares.

    Machines without a monitor of the processor have its thermal zones.
    """

    def __init__(self, sysfs: Sysfs, chips: tuple[Chip, ...]) -> None:
        self._sysfs = sysfs
        self._chips = tuple(chip for chip in chips if chip.owner == CPU and chip.temperatures)
        self._zones = () if self._chips else tuple(_package_zones(sysfs))

    def read(self, at_s: float) -> Heat:
        """The hottest sensor of the package."""
        return hottest(
            self._heats(at_s),
            Unavailable.because(
                "nothing_found",
                detail=f"hwmon of {', '.join(sorted(CPU_CHIPS))} and no thermal zone of the processor",
                folder=self._sysfs.root,
            ),
        )

    def _heats(self, at_s: float) -> Iterator[Heat]:
        for chip in self._chips:
            yield from chip.heats(at_s)
        for zone in self._zones:
            temperature_c = plausible("temperature_c", self._sysfs.reading(f"{zone}/temp", at_s, MILLI))
            yield Heat(temperature_c, self._critical(zone, at_s))

    def _critical(self, zone: str, at_s: float) -> Maybe[float]:
        """The zone's critical trip point."""
        for kind in self._sysfs.glob(f"{zone}/trip_point_*_type"):
            if self._sysfs.text(kind) == "critical":
                return self._sysfs.reading(f"{kind.removesuffix('type')}temp", at_s, MILLI)
        source = self._sysfs.absolute(f"{zone}/temp")
        return Unavailable.because("not_reported", source=source, detail="a critical trip point")


def _package_zones(sysfs: Sysfs) -> Iterator[str]:
    zones = sysfs.glob("class/thermal/thermal_zone*")
    return (zone for zone in zones if sysfs.text(f"{zone}/type").startswith(_PACKAGE_ZONES))


class Load:
    """How busy the processor was since the last reading."""

    def __init__(self, times: Callable[[], proc.Times] = proc.times) -> None:
        self._times = times
        self._last: proc.Times | None = None

    def step(self, at_s: float) -> Maybe[float]:
        """Percent of all processors together."""
        now = self._times()
        last, self._last = self._last, now
        if last is None:
            return Unavailable.because("readings_needed", count=2)
        elapsed = now.total - last.total
        if elapsed <= 0:
            return Unavailable.because("no_time_passed")
        return Reading(min(100.0, max(0.0, 100.0 * (1 - (now.idle - last.idle) / elapsed))), at_s)


class Throttle:
    """The counters of thermal throttling, one for each package. A rise since the last reading is throttling."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._counters: dict[str, Rate] = {}

    def look(self) -> None:
        """Find the counters; one that was known goes on. All processors of a package show the same."""
        found = self._sysfs.glob(f"{_CPUS}/cpu[0-9]*/thermal_throttle/package_throttle_count")
        packages = {self._package(path): path for path in reversed(found)}
        self._counters = {path: self._counters.get(path) or Rate() for path in packages.values()}

    def _package(self, counter: str) -> str:
        cpu = counter.removesuffix("/thermal_throttle/package_throttle_count")
        return self._sysfs.text(f"{cpu}/topology/physical_package_id")

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


class Rapl:
    """The energy counters (RAPL) of all packages together, where the administrator lets them be read."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._counters: dict[str, Rate] = {}

    def look(self) -> None:
        """Find the counters of packages, AMD's too; one that was known goes on.

        intel-rapl-mmio counts the same energy again, and psys that of the whole machine.
        """
        self._counters = {
            zone: self._counters.get(zone) or Rate(_MICRO, self._sysfs.read_int(f"{zone}/max_energy_range_uj"))
            for zone in self._sysfs.glob("class/powercap/intel-rapl:*")
            if self._sysfs.text(f"{zone}/name").startswith("package")
        }

    def read(self, at_s: float) -> tuple[Maybe[float], Maybe[float]]:
        """Watts since the last reading, and joules since the first one."""
        if not self._counters:
            folder = self._sysfs.absolute("class/powercap")
            absent = Unavailable.because("nothing_found", detail="package counter", folder=folder)
            return absent, absent
        steps = [rate.step(self._counter(zone), at_s) for zone, rate in self._counters.items()]
        watts = sum(step.value for step in steps if isinstance(step, Reading))
        joules = sum(rate.total for rate in self._counters.values()) * _MICRO
        missing = [step for step in steps if isinstance(step, Unavailable)]
        forbidden = [step for step in missing if isinstance(step, Forbidden)]
        return (
            missing[0] if missing else Reading(watts, at_s),
            forbidden[0] if forbidden else Reading(joules, at_s),
        )

    def _counter(self, zone: str) -> Raw[int]:
        path = f"{zone}/energy_uj"
        counter = self._sysfs.read_int(path)
        if isinstance(counter, Forbidden):
            return Forbidden.because("file_root_only", file=self._sysfs.absolute(path))
        return counter


class Cpu:
    """The source of the device "cpu" and of the system's load and memory.

    Nothing here stands behind the gate: a processor that reads is awake, and the fans are the mainboard's.
    """

    def __init__(self, sysfs: Sysfs, name: str = "CPU", load: Load | None = None) -> None:
        self._sysfs = sysfs
        self._device = DeviceState(CPU, Hardware.CPU, name, PowerState.AWAKE)
        self._monitors = Discovered(self._find)
        self._rapl = Rapl(sysfs)
        self._throttle = Throttle(sysfs)
        self._load = load or Load()
        self.rediscover = self._monitors.forget

    def sample(self, at_s: float) -> Sensed:
        """What the processor says now; memory that can be taken without swapping is available."""
        package, fan_chips = self._monitors.now(at_s)
        no_fan = Unavailable.because("nothing_found", detail="fan", folder=self._sysfs.absolute("class/hwmon"))
        heat, fans = package.read(at_s), fastest(fan_chips, at_s, no_fan)
        power_w, energy_j = self._rapl.read(at_s)
        load, memory = self._load.step(at_s), proc.memory()
        device = replace(
            self._device,
            temperature_c=heat.temperature_c,
            critical_c=heat.critical_c,
            fan_rpm=fans.rpm,
            fan_percent=fans.percent,
            utilisation_percent=load,
            memory_used_bytes=Reading(memory.total_bytes - memory.available_bytes, at_s),
            memory_total_bytes=Reading(memory.total_bytes, at_s),
            throttling=self._throttle.read(at_s),
            power_w=power_w,
            energy_j=energy_j,
        )
        return Sensed({"cpu_percent": load, "memory_available_bytes": Reading(memory.available_bytes, at_s)}, (device,))

    def _find(self) -> tuple[PackageHeat, Sequence[Chip]]:
        self._rapl.look()
        self._throttle.look()
        chips = find_chips(self._sysfs)
        return PackageHeat(self._sysfs, chips), [chip for chip in chips if chip.owner == ""]


def model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The maker's name of the processor; "CPU" where it is unknown."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_FIRST_LINES).splitlines()
    except OSError:
        return "CPU"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or "CPU"
