"""What the drivers of neural processors say of one that is awake."""

from collections.abc import Sequence

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs
from ollama_proxyd.edges.sensors.driver import HwmonOnly, Values
from ollama_proxyd.edges.sensors.hwmon import Chip
from ollama_proxyd.edges.sensors.pci import PciDevice
from ollama_proxyd.edges.sensors.rates import Rate


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
