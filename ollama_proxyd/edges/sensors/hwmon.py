"""Hardware monitors below class/hwmon: temperatures with their own limits, fans, power and energy."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from ollama_proxyd.core.plausibility import plausible
from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.sysfs import Raw, Sysfs, scaled

MILLI: Final = 1e-3
CPU: Final = "cpu"
"""The owner of the processor's own monitors, and of the fans that belong to no PCI device: a laptop's fans."""
CPU_CHIPS: Final = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal", "via_cputemp"})
_PREFERRED: Final[Mapping[str, Sequence[str]]] = {
    "coretemp": ("Package id",),  # one register; each core's sensor would have to be read on that core
    "k10temp": ("Tdie", "Tctl"),  # Tctl of some models is shifted for the fan's sake
    "zenpower": ("Tdie", "Tctl"),
}
_PCI_ADDRESS: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_INPUT: Final = re.compile(r"(temp|fan)\d+_input")


@value
class Heat:
    """The hottest sensor of several and its own critical temperature."""

    temperature_c: Maybe[float]
    critical_c: Maybe[float]


@value
class Fans:
    """The highest speed and the highest percentage of several fans."""

    rpm: Maybe[float]
    percent: Maybe[float]


class Chip:
    """One monitor. Its folder was listed; its files are read only behind the gate."""

    def __init__(self, sysfs: Sysfs, path: str, name: str, owner: str) -> None:
        self.path, self.name, self.owner = path, name, owner
        self._sysfs = sysfs
        self._attributes = frozenset(sysfs.children(path))
        inputs = sorted(name.removesuffix("_input") for name in self._attributes if _INPUT.fullmatch(name))
        self.temperatures = [name for name in inputs if name.startswith("temp")]
        self._fans = [name for name in inputs if name.startswith("fan")]
        self._constants: dict[str, Raw[int]] = {}

    def has(self, attribute: str) -> bool:
        """Whether the driver offers a file; known without reading it."""
        return attribute in self._attributes

    def heats(self, at_s: float) -> Iterable[Heat]:
        """The temperatures that count for the device."""
        for name in self._counting:
            value = plausible("temperature_c", scaled(self.number(f"{name}_input"), MILLI, at_s))
            yield Heat(value, scaled(self._constant(f"{name}_crit"), MILLI, at_s))

    def fans(self, at_s: float) -> Iterable[Fans]:
        """Every fan; its percentage where the driver says what its most is."""
        for name in self._fans:
            rpm = plausible("fan_rpm", scaled(self.number(f"{name}_input"), 1.0, at_s))
            yield Fans(rpm, self._percent(rpm, self._constant(f"{name}_max")))

    def number(self, attribute: str) -> Raw[int]:
        """The number in one of its files."""
        return self._sysfs.read_int(f"{self.path}/{attribute}")

    def _percent(self, rpm: Maybe[float], most: Raw[int]) -> Maybe[float]:
        if isinstance(rpm, Unavailable):
            return rpm
        if isinstance(most, Unavailable) or most <= 0:
            return Unavailable.because("fan_maximum_unknown", sensor=self.name, fan_rpm=rpm.value)
        return Reading(min(100.0, 100.0 * rpm.value / most), rpm.at_s)

    def _constant(self, attribute: str) -> Raw[int]:
        """A limit, read until it was read once."""
        if not self.has(attribute):
            return Unavailable.because("not_reported", source=self.name, detail=attribute)
        if isinstance(self._constants.get(attribute), Unavailable | None):
            self._constants[attribute] = self.number(attribute)
        return self._constants[attribute]

    @cached_property
    def _counting(self) -> Sequence[str]:
        """The preferred temperatures, else all; labels are read once, when the device is awake."""
        wanted = _PREFERRED.get(self.name, ())
        labels = {name: self._sysfs.text(f"{self.path}/{name}_label") for name in self.temperatures if wanted}
        for prefix in wanted:
            if found := [name for name, label in labels.items() if label.startswith(prefix)]:
                return found
        return self.temperatures


def find_chips(sysfs: Sysfs) -> tuple[Chip, ...]:
    """The monitors of the processor, of PCI devices and of the machine itself; a monitor without a name is left out."""
    named = ((path, sysfs.text(f"{path}/name")) for path in sysfs.glob("class/hwmon/*"))
    return tuple(Chip(sysfs, path, name, _owner(name, sysfs.resolved(path))) for path, name in named if name)


def hottest(heats: Iterable[Heat], otherwise: Unavailable) -> Heat:
    """The hottest that can be read, else the first one's reason, else the reason given."""
    found = [*heats] or [Heat(otherwise, otherwise)]
    return max(found, key=lambda heat: _order(heat.temperature_c))


def fastest(chips: Iterable[Chip], at_s: float, otherwise: Unavailable) -> Fans:
    """The highest speed and the highest percentage that can be read of all the fans."""
    fans = [fan for chip in chips for fan in chip.fans(at_s)]
    return Fans(highest([fan.rpm for fan in fans], otherwise), highest([fan.percent for fan in fans], otherwise))


def highest(readings: Iterable[Maybe[float]], otherwise: Maybe[float]) -> Maybe[float]:
    """The highest of the values, else the first reason, else what is given."""
    return max([*readings] or [otherwise], key=_order)


def _order(reading: Maybe[float]) -> float:
    """Every value is above a reason; of several reasons `max` takes the first."""
    return reading.value if isinstance(reading, Reading) else -math.inf


def _owner(name: str, path: str) -> str:
    if name in CPU_CHIPS:
        return CPU
    addresses = _PCI_ADDRESS.findall(path)
    return addresses[-1] if addresses else ""
