"""What the processor draws by its own energy counters (RAPL), where the administrator lets them be read."""

import re
from collections.abc import Sequence
from typing import Final

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Forbidden, Raw, Sysfs
from ollama_proxyd.edges.sensors.rates import Rate

_ZONE: Final = re.compile(r"intel-rapl:\d+")
"""A package, AMD's too; intel-rapl-mmio counts the same energy again, and psys that of the whole machine."""
_MICRO: Final = 1e-6


class Rapl:
    """The energy counters of all packages together."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._counters: dict[str, Rate] = {}

    def look(self) -> None:
        """Find the counters; one that was known goes on."""
        zones = (f"class/powercap/{name}" for name in self._sysfs.children("class/powercap") if _ZONE.fullmatch(name))
        self._counters = {
            zone: self._counters.get(zone) or Rate(_number(self._sysfs, f"{zone}/max_energy_range_uj"))
            for zone in zones
            if _is_package(self._sysfs, zone)
        }

    def read(self, at_s: float) -> tuple[Maybe[float], Maybe[float]]:
        """Watts since the last reading, and joules since the first one."""
        if not self._counters:
            absent = Unavailable(f"no package counter below {self._sysfs.absolute('class/powercap')}")
            return absent, absent
        steps = [rate.step(self._counter(zone), at_s) for zone, rate in self._counters.items()]
        return _sum(steps, at_s), self._energy(steps, at_s)

    def _counter(self, zone: str) -> Raw[int]:
        path = f"{zone}/energy_uj"
        counter = self._sysfs.read_int(path)
        if isinstance(counter, Forbidden):
            whole = self._sysfs.absolute(path)
            return Forbidden(f"{whole} is for root alone; an administrator may allow it: chmod o+r {whole}")
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


def _is_package(sysfs: Sysfs, zone: str) -> bool:
    name = sysfs.read_text(f"{zone}/name")
    return isinstance(name, str) and name.startswith("package")


def _number(sysfs: Sysfs, path: str) -> int | None:
    number = sysfs.read_int(path)
    return None if isinstance(number, Unavailable) else number
