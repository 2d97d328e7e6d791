"""The processor as one device: its package's heat, the machine's fans, power, throttling, load and memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Sysfs
from ollama_proxyd.edges.sensors.hwmon import CPU, CPU_CHIPS, Chip, Fans, Heat, fastest, find_chips, hottest
from ollama_proxyd.edges.sensors.processor import Load, Rapl, ThermalZones, Throttle, memory
from ollama_proxyd.edges.sensors.rates import Trend
from ollama_proxyd.edges.sensors.sampled import Discovered

_FIRST_LINES: Final = 4096
"""Enough of /proc/cpuinfo for the first processor; each further one would be asked for its clock."""


class PackageHeat:
    """The temperature of the processor's package, which everything integrated in it shares."""

    def __init__(self, sysfs: Sysfs, chips: tuple[Chip, ...]) -> None:
        self._sysfs = sysfs
        self._chips = tuple(chip for chip in chips if chip.owner == CPU and chip.has_temperatures)
        self._zones = ThermalZones(sysfs) if not self._chips else None

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
        if self._zones is not None:
            yield from self._zones.heats(at_s)


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
        self._trend = Trend()

    def rediscover(self) -> None:
        """Monitors have come or gone."""
        self._monitors.forget()

    def sample(self, at_s: float) -> Sensed:
        """What the processor says now."""
        package, fan_chips = self._monitors.now(at_s)
        heat, fans = package.read(at_s), self._fastest(fan_chips, at_s)
        power_w, energy_j = self._rapl.read(at_s)
        load, main_memory = self._load.step(at_s), memory(at_s)
        device = replace(
            self._device,
            temperature_c=heat.temperature_c,
            critical_c=heat.critical_c,
            slope_c_per_s=self._trend.step(heat.temperature_c),
            fan_rpm=fans.rpm,
            fan_percent=fans.percent,
            utilisation_percent=load,
            memory_used_bytes=main_memory.used,
            memory_total_bytes=main_memory.total,
            throttling=self._throttle.read(at_s),
            power_w=power_w,
            energy_j=energy_j,
        )
        return Sensed({"cpu_percent": load, "memory_available_bytes": main_memory.available}, (device,))

    def _find(self) -> tuple[PackageHeat, Sequence[Chip]]:
        self._rapl.look()
        self._throttle.look()
        chips = find_chips(self._sysfs)
        return PackageHeat(self._sysfs, chips), [chip for chip in chips if chip.owner == "" and chip.has_fans]

    def _fastest(self, chips: Sequence[Chip], at_s: float) -> Fans:
        absent = Unavailable.because("nothing_found", detail="fan", folder=self._sysfs.absolute("class/hwmon"))
        return fastest((fan for chip in chips for fan in chip.fans(at_s)), absent)


def model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The maker's name of the processor; "CPU" where it is unknown."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_FIRST_LINES).splitlines()
    except OSError:
        return "CPU"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or "CPU"
