"""GPUs and neural processors that sysfs speaks for: which instrument reads which driver, and only of those awake."""

from dataclasses import replace

from ollama_proxyd.core.readings import DeviceState, PowerState, Sensed, Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Sysfs
from ollama_proxyd.edges.sensors.cpu import PackageHeat
from ollama_proxyd.edges.sensors.drivers import INSTRUMENTS, Instrument, Values
from ollama_proxyd.edges.sensors.hwmon import find_chips
from ollama_proxyd.edges.sensors.nvidia import DRIVER as NVIDIA_DRIVER
from ollama_proxyd.edges.sensors.pci import PciDevice, find_accelerators
from ollama_proxyd.edges.sensors.sampled import Discovered


class _Device:
    """One device, its instrument, and what has to be remembered between two readings."""

    def __init__(self, device: PciDevice, instrument: Instrument) -> None:
        self._device = device
        self._instrument = instrument
        self.package: PackageHeat | None = None
        """Whose heat it shares, where it is integrated; looked up anew with every discovery."""

    def sample(self, gate: DeviceGate, at_s: float) -> DeviceState:
        """What it says now, or why it was not asked."""
        power_state, values = gate.ask(self._device.address, lambda: self._read(at_s))
        if isinstance(values, Unavailable):
            return self._device.state(power_state, values)
        driver = self._device.driver
        silence = Unavailable(Reason("driver_silent", driver=driver) if driver else Reason("no_driver"))
        return replace(self._device.state(PowerState.AWAKE, silence), **values)

    def _read(self, at_s: float) -> Values:
        values = dict(self._instrument.read(at_s))
        if self.package is not None and isinstance(values.get("temperature_c"), Unavailable | None):
            heat = self.package.read(at_s)
            values |= {"temperature_c": heat.temperature_c, "critical_c": heat.critical_c}
        return values


class Accelerators:
    """The source of every accelerator but those that NVIDIA's own driver speaks for.

    A device in the processor's package without a thermometer is as hot as the package.
    """

    def __init__(self, sysfs: Sysfs, gate: DeviceGate) -> None:
        self._sysfs = sysfs
        self._gate = gate
        self._devices = Discovered(self._find)
        self._known: dict[tuple[PciDevice, tuple[str, ...]], _Device] = {}
        self.rediscover = self._devices.forget

    def sample(self, at_s: float) -> Sensed:
        """What every device says now."""
        return Sensed(devices=tuple(device.sample(self._gate, at_s) for device in self._devices.now(at_s)))

    def _find(self) -> tuple[_Device, ...]:
        chips = find_chips(self._sysfs)
        package = PackageHeat(self._sysfs, chips)
        known: dict[tuple[PciDevice, tuple[str, ...]], _Device] = {}
        for device in find_accelerators(self._sysfs):
            if device.driver == NVIDIA_DRIVER:
                continue
            own = tuple(chip for chip in chips if chip.owner == device.address)
            key = device, tuple(chip.path for chip in own)
            make = INSTRUMENTS.get(device.driver, Instrument)
            known[key] = self._known.get(key) or _Device(device, make(self._sysfs, device, own))
            known[key].package = package if device.integrated else None
        self._known = known
        return tuple(known.values())
