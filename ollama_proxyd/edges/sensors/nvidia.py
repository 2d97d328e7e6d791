"""GPUs that NVIDIA's own driver speaks for: asked while they work, left alone when they are idle or asleep."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, DeviceGate, Raw, Sysfs
from ollama_proxyd.edges.sensors.nvml import Nvml
from ollama_proxyd.edges.sensors.pci import PciDevice, find_accelerators
from ollama_proxyd.edges.sensors.sampled import Discovered

DRIVER: Final = "nvidia"
IDLE_S: Final = 20.0
REST_S: Final = 60.0
"""An open session keeps a device awake, so a device idle for `IDLE_S` is not asked for this time.

If it is still awake then, something else keeps it so, and one look does no harm.
"""
_LEFT_ALONE: Final = Unavailable.because("left_alone")
_PERHAPS_IDLE: Final = Unavailable.because("perhaps_idle")
_SILENT: Final = Unavailable.because("driver_silent", driver="NVML")


class _Gpu:
    """One device and what has to be remembered between two readings."""

    def __init__(self, device: PciDevice) -> None:
        self.device = device
        self.left_alone = _LEFT_ALONE
        """Why it is not asked while it rests."""
        self._worked_at_s: float | None = None
        self._rests_until_s: float | None = None

    def slept(self) -> None:
        """When it wakes, it has a reason to."""
        self._worked_at_s = self._rests_until_s = None

    def rests(self, at_s: float) -> bool:
        """Whether it is left alone now."""
        return self._rests_until_s is not None and at_s < self._rests_until_s

    def has_idled(self, at_s: float, *, works: bool) -> bool:
        """Note what the last look showed: whether it has done nothing for long enough."""
        if works or self._worked_at_s is None:
            self._worked_at_s, self._rests_until_s = at_s, None
        return at_s - self._worked_at_s >= IDLE_S

    def rest(self, at_s: float) -> None:
        """Leave it alone from now on."""
        self._rests_until_s = at_s + REST_S


class Nvidia:
    """The source of NVIDIA's devices.

    `in_use` tells whether requests run on the device with this PCI address: such a device is never left alone.
    """

    def __init__(self, sysfs: Sysfs, gate: DeviceGate, nvml: Nvml, in_use: Callable[[str], bool]) -> None:
        self._sysfs, self._gate, self._nvml = sysfs, gate, nvml
        self._in_use = in_use
        self._found = Discovered(lambda: [each for each in find_accelerators(sysfs) if each.driver == DRIVER])
        self._gpus: dict[PciDevice, _Gpu] = {}
        self.rediscover = self._found.forget

    def sample(self, at_s: float) -> Sensed:
        """What every device says now; the session is closed when none of them is to be asked again soon."""
        found = self._found.now(at_s)
        if found != list(self._gpus):
            self._nvml.close()  # a session with a removed device is useless
            self._gpus = {device: self._gpus.get(device) or _Gpu(device) for device in found}
        return Sensed(devices=tuple(self._look(gpu, at_s) for gpu in self._gpus.values()))

    def _look(self, gpu: _Gpu, at_s: float) -> DeviceState:
        address = gpu.device.address
        state, values = self._gate.ask(address, lambda: self._ask(gpu, at_s))
        if state is not PowerState.AWAKE:
            gpu.slept()
            self._nvml.release(address)
        if isinstance(values, Unavailable):
            return gpu.device.state(state, values)
        return replace(gpu.device.state(state, _SILENT), **values)

    def _ask(self, gpu: _Gpu, at_s: float) -> Raw[Mapping[str, Any]]:
        address = gpu.device.address
        is_in_use = self._in_use(address)
        if gpu.rests(at_s) and not is_in_use:
            return gpu.left_alone
        values = self._nvml.read(address, at_s)
        if isinstance(values, Unavailable):
            return values
        works = self._works(address, values["utilisation_percent"])
        gpu.left_alone = _PERHAPS_IDLE if isinstance(works, Unavailable) else _LEFT_ALONE
        if gpu.has_idled(at_s, works=is_in_use or works is True) and self._can_sleep(address):
            gpu.rest(at_s)
            self._nvml.release(address)
        name = values["name"]
        return {**values, "name": name if isinstance(name, str) else gpu.device.name}

    def _works(self, address: str, utilisation_percent: Maybe[float]) -> bool | Unavailable:
        """Whether the device works; without its utilisation (MIG, virtual GPUs), whether it has programs.

        Their work keeps it awake, so that asking it does no harm.
        """
        if isinstance(utilisation_percent, Reading):
            return utilisation_percent.value > 0
        return self._nvml.has_programs(address)

    def _can_sleep(self, address: str) -> bool:
        return self._sysfs.text(f"{PCI_DEVICES}/{address}/power/control") != "on"
