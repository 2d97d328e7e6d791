"""What every driver's instrument has in common: the port, and the readings that hwmon gives for any device."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.sensors.hwmon import Chip, fastest, highest, hottest, scaled
from ollama_proxyd.edges.sensors.rates import Rate

Values: TypeAlias = Mapping[str, Any]
"""A Maybe by the name of DeviceState's field; a field that is left out is one of which the driver says nothing."""

MICRO: Final = 1e-6
_POWER: Final = ("power1_average", "power1_input")
_ENERGY: Final = ("energy1_input", "energy2_input")
"""The whole card, or only its package."""


class Instrument(Protocol):
    """Reads one device that is awake."""

    def read(self, at_s: float) -> Values:
        """What it says now."""


class HwmonOnly:
    """A device of which hwmon says all that there is (nouveau, and whatever else has a monitor)."""

    def __init__(self, chips: Sequence[Chip]) -> None:
        self._chips = chips
        self._energy = {chip: Rate() for chip in chips}

    def read(self, at_s: float) -> Values:
        """Temperature, fan, power and energy."""
        if not self._chips:
            return {}
        heat = hottest((heat for chip in self._chips for heat in chip.heats(at_s)), "its monitor has no temperature")
        fans = fastest((fan for chip in self._chips for fan in chip.fans(at_s)), "it has no fan of its own")
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
        energy: Maybe[float] = Unavailable("its monitor counts no energy")
        rate: Maybe[float] = Unavailable("its monitor measures no power")
        if counted:
            chip, name = counted[0]
            counter = chip.number(name)
            rate = self._energy[chip].step(counter, at_s)
            energy = scaled(counter, MICRO, at_s)
        measured = [scaled(chip.number(name), MICRO, at_s) for chip in self._chips for name in _POWER if chip.has(name)]
        return (highest(measured, "") if measured else _in_watts(rate)), energy


def _in_watts(microwatts: Maybe[float]) -> Maybe[float]:
    return microwatts if isinstance(microwatts, Unavailable) else Reading(microwatts.value * MICRO, microwatts.at_s)
