"""The accelerators of the machine as the PCI bus lists them, known without waking any."""

from typing import Any, Final

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DEVICE_READINGS, DeviceState, PowerState, Unavailable
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, Sysfs

NVIDIA: Final = "0x10de"
INTEL: Final = "0x8086"
_VENDORS: Final = {NVIDIA: "NVIDIA", INTEL: "Intel", "0x1002": "AMD", "0x1022": "AMD"}
_AMD_GPU_DRIVERS: Final = frozenset({"amdgpu", "radeon"})
_NPU_DRIVERS: Final = frozenset({"intel_vpu", "amdxdna"})
_DISPLAY: Final = "0x03"
_PROCESSING_ACCELERATOR: Final = "0x1200"
_APU_VOLTAGE: Final = "in1_input"
"""The supply of an AMD processor's own half; amdgpu shows it for graphics inside a processor and for no card."""


@value
class PciDevice:
    """What the bus says of one accelerator: static facts, kept by the kernel and not by the device.

    `integrated`: it shares the processor's package, and so its heat. `driver` is "" while none is bound.
    """

    address: str
    hardware: Hardware
    name: str
    driver: str
    integrated: bool

    def state(self, power_state: PowerState, reason: Unavailable) -> DeviceState:
        """The device with the same reason in the place of every value."""
        values: dict[str, Any] = dict.fromkeys(DEVICE_READINGS, reason)
        return DeviceState(self.address, self.hardware, self.name, power_state, **values)


def find_accelerators(sysfs: Sysfs) -> tuple[PciDevice, ...]:
    """Graphics of the three makers and neural processors; a server's display chip computes nothing and is left out."""
    seen = (_accelerator(sysfs, address) for address in sysfs.children(PCI_DEVICES))
    return tuple(device for device in seen if device is not None)


def _accelerator(sysfs: Sysfs, address: str) -> PciDevice | None:
    path = f"{PCI_DEVICES}/{address}"
    kind, driver = sysfs.text(f"{path}/class"), sysfs.link(f"{path}/driver")
    is_display = kind.startswith(_DISPLAY)
    if not is_display and not kind.startswith(_PROCESSING_ACCELERATOR) and driver not in _NPU_DRIVERS:
        return None
    vendor, model = sysfs.text(f"{path}/vendor"), sysfs.text(f"{path}/device")
    if not model or vendor not in _VENDORS:
        return None
    hardware, integrated = _class(sysfs, address, vendor, driver, is_display=is_display)
    word = "NPU" if hardware is Hardware.NPU else "GPU"
    name = f"{_VENDORS[vendor]} {word} {vendor[2:]}:{model.removeprefix('0x')}"
    return PciDevice(address, hardware, name, driver, integrated)


def _class(sysfs: Sysfs, address: str, vendor: str, driver: str, *, is_display: bool) -> tuple[Hardware, bool]:
    """The class of device, and whether it shares the processor's package.

    An Intel card (Arc) sits behind a bridge, Intel's integrated graphics on the root bus. A card is of no class that
    has a name: backends find it by its address, and never by mistake where `igpu` is meant. AMD's data-centre cards
    are processing accelerators on the bus, but amdgpu drives them.
    """
    if driver in _AMD_GPU_DRIVERS or (is_display and _VENDORS[vendor] == "AMD"):
        integrated = bool(sysfs.glob(f"{PCI_DEVICES}/{address}/hwmon/*/{_APU_VOLTAGE}"))
        return (Hardware.IGPU if integrated else Hardware.AMDGPU), integrated
    if vendor == NVIDIA:
        return Hardware.NVIDIA, False
    if not is_display:
        return Hardware.NPU, True
    on_root_bus = address.split(":")[1] == "00"
    return (Hardware.IGPU if on_root_bus else Hardware.UNKNOWN), on_root_bus
