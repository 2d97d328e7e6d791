"""GPUs that NVIDIA's own driver speaks for: asked while they work, left alone when they are idle or asleep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, Reading, Sensed, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import PCI_DEVICES, DeviceGate, Raw, Sysfs
from ollama_proxyd.edges.sensors.nvml import Nvml
from ollama_proxyd.edges.sensors.pci import PciDevice, find_accelerators
from ollama_proxyd.edges.sensors.rates import Trend
from ollama_proxyd.edges.sensors.sampled import Discovered

DRIVER: Final = "nvidia"
_LEFT_ALONE: Final = Unavailable.because("left_alone")
_PERHAPS_IDLE: Final = Unavailable.because("perhaps_idle")


@dataclass(frozen=True, slots=True)
class Patience:
    """An open session keeps a device awake, so a device idle for `idle_s` is not asked for `rest_s`.

    If it is still awake then, something else keeps it so, and one look does no harm.
    """

    idle_s: float = 20.0
    rest_s: float = 60.0


class _Attention:
    """Whether one device is to be asked now."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._worked_at_s: float | None = None
        self._rests_until_s: float | None = None

    def forget(self) -> None:
        """It slept: when it wakes, it has a reason to."""
        self._worked_at_s = self._rests_until_s = None

    def rests(self, at_s: float) -> bool:
        """Whether it is left alone now."""
        return self._rests_until_s is not None and at_s < self._rests_until_s

    def has_enough(self, at_s: float, *, works: bool) -> bool:
        """Note what the last look showed: whether it has done nothing for long enough."""
        if works or self._worked_at_s is None:
            self._worked_at_s, self._rests_until_s = at_s, None
        return at_s - self._worked_at_s >= self._patience.idle_s

    def rest(self, at_s: float) -> None:
        """Leave it alone from now on."""
        self._rests_until_s = at_s + self._patience.rest_s


class _Gpu:
    """One device and what has to be remembered between two readings."""

    def __init__(self, device: PciDevice, patience: Patience) -> None:
        self.device = device
        self.attention = _Attention(patience)
        self.left_alone = _LEFT_ALONE
        """Why it is not asked while it rests."""
        self.trend = Trend()

    def silent(self, power_state: PowerState, reason: Unavailable) -> DeviceState:
        """The device without values."""
        self.trend.step(reason)
        return self.device.state(power_state, reason)


class Nvidia:
    """The source of NVIDIA's devices.

    `in_use` tells whether requests run on the device with this PCI address: such a device is never left alone.
    """

    def __init__(
        self,
        sysfs: Sysfs,
        gate: DeviceGate,
        nvml: Nvml,
        in_use: Callable[[str], bool],
        patience: Patience = Patience(),
    ) -> None:
        self._sysfs, self._gate, self._nvml = sysfs, gate, nvml
        self._in_use = in_use
        self._patience = patience
        self._found = Discovered(lambda: find_accelerators(sysfs, lambda device: device.driver == DRIVER))
        self._gpus: dict[PciDevice, _Gpu] = {}

    def rediscover(self) -> None:
        """Devices have come or gone; a session with a removed device is useless."""
        self._found.forget()

    def sample(self, at_s: float) -> Sensed:
        """What every device says now; the session is closed when none of them is to be asked again soon."""
        found = self._found.now(at_s)
        if found != tuple(self._gpus):
            self._nvml.close()
            self._gpus = {device: self._gpus.get(device) or _Gpu(device, self._patience) for device in found}
        return Sensed(devices=tuple(self._look(gpu, at_s) for gpu in self._gpus.values()))

    def _look(self, gpu: _Gpu, at_s: float) -> DeviceState:
        address = gpu.device.address
        values = self._gate.ask(address, lambda: self._question(gpu, at_s))
        if not isinstance(values, Unavailable):
            return self._awake(gpu, dict(values), at_s)
        state = self._gate.power_state(address)
        if state is not PowerState.AWAKE:
            gpu.attention.forget()
            self._nvml.release(address)
        return gpu.silent(state, values)

    def _question(self, gpu: _Gpu, at_s: float) -> Raw[Mapping[str, Any]]:
        if gpu.attention.rests(at_s) and not self._in_use(gpu.device.address):
            return gpu.left_alone
        values = self._nvml.read(gpu.device.address, at_s)
        if isinstance(values, Unavailable):
            return values
        return {**values, "works": self._works(gpu.device.address, values["utilisation_percent"])}

    def _works(self, address: str, utilisation_percent: Maybe[float]) -> bool | Unavailable:
        """Whether the device works; without its utilisation (MIG, virtual GPUs), whether it has programs.

        Their work keeps it awake, so that asking it does no harm.
        """
        if isinstance(utilisation_percent, Reading):
            return utilisation_percent.value > 0
        return self._nvml.has_programs(address)

    def _awake(self, gpu: _Gpu, values: dict[str, Any], at_s: float) -> DeviceState:
        address = gpu.device.address
        works = values.pop("works")
        gpu.left_alone = _PERHAPS_IDLE if isinstance(works, Unavailable) else _LEFT_ALONE
        is_at_work = works is True or self._in_use(address)
        if gpu.attention.has_enough(at_s, works=is_at_work) and self._can_sleep(address):
            gpu.attention.rest(at_s)
            self._nvml.release(address)
        name = values.pop("name")
        values["slope_c_per_s"] = gpu.trend.step(values["temperature_c"])
        state = replace(
            gpu.device.state(PowerState.AWAKE, Unavailable.because("driver_silent", driver="NVML")), **values
        )
        return replace(state, name=name) if isinstance(name, str) else state

    def _can_sleep(self, address: str) -> bool:
        return self._sysfs.read_text(f"{PCI_DEVICES}/{address}/power/control") != "on"
