"""What the amdgpu driver says of an AMD GPU that is awake."""

from collections.abc import Sequence

from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs
from ollama_proxyd.edges.sensors.driver import HwmonOnly, Values
from ollama_proxyd.edges.sensors.hwmon import Chip, scaled
from ollama_proxyd.edges.sensors.pci import PciDevice


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
            "throttling": Unavailable("amdgpu tells of throttling only in a binary table that differs by model"),
        }

    def _memory(self, what: str, at_s: float) -> Maybe[int]:
        amount = 0
        for pool in self._pools:
            part = self._sysfs.read_int(f"{self._path}/mem_info_{pool}_{what}")
            if isinstance(part, Unavailable):
                return part
            amount += part
        return Reading(amount, at_s)
