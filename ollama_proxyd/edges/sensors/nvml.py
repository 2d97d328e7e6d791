"""NVIDIA's management library: loaded late, and closed so that devices can sleep."""

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from ollama_proxyd.core.plausibility import within_power_limit
from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.edges.plumbing.sysfs import Raw

log = logging.getLogger(__name__)

Binding: TypeAlias = Any
"""The module pynvml of nvidia-ml-py, which has no types."""

_THROTTLING: Final[Mapping[int, str]] = {
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""The bits of nvmlClocksEventReasons that are trouble; an idle clock or a power cap is none."""

_TEMPERATURE: Final = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
_EVENT_REASONS: Final = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
_PROGRAMS: Final = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
_GPU_SENSOR: Final = 0
"""NVML_TEMPERATURE_GPU."""
_SLOWDOWN: Final = 1
"""NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: where the device begins to protect itself."""


def load_binding() -> Binding:
    """The binding; raises ImportError where nvidia-ml-py is not installed."""
    return importlib.import_module("pynvml")


class Nvml:
    """One session with the driver, and the handles of the devices that were asked in it.

    A handle is looked up by its PCI address: by index, NVML would initialise the other devices too.
    """

    def __init__(self, load: Callable[[], Binding] = load_binding) -> None:
        self._load = load
        self._nvml: Binding = None
        self._handles: dict[str, Any] = {}

    def release(self, pci_address: str) -> None:
        """Let one device go; there is no closing of one alone, so the next question opens a new session."""
        if pci_address in self._handles:
            self.close()

    def close(self) -> None:
        """Let the driver and all devices go."""
        nvml, self._nvml = self._nvml, None
        self._handles.clear()
        if nvml is None:
            return
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError as error:  # the driver has gone, and the session with it
            log.debug("NVML was not shut down: %s", error)

    def read(self, pci_address: str, at_s: float) -> Raw[Mapping[str, Any]]:
        """What the device says, by the field's name, its `name` among them."""
        opened = self._open()
        if isinstance(opened, Unavailable):
            return opened
        handle = self._handles.get(pci_address)
        if handle is None:
            handle = self._call(("nvmlDeviceGetHandleByPciBusId",), pci_address)
            if isinstance(handle, Unavailable):
                if not self._handles:
                    self.close()
                return handle
            self._handles[pci_address] = handle
        readings = self._readings(handle, at_s)
        if not any(isinstance(reading, Reading) for reading in readings.values()):
            self.close()  # the device was lost, or the driver replaced: this session will not see it again
        return readings

    def has_programs(self, pci_address: str) -> bool | Unavailable:
        """Whether programs hold work on a device that was just read."""
        handle = self._handles.get(pci_address)
        if handle is None:
            return Unavailable.because("device_silent")
        lists = [self._call((name,), handle) for name in _PROGRAMS]
        if any(each for each in lists if not isinstance(each, Unavailable)):
            return True
        return next((each for each in lists if isinstance(each, Unavailable)), False)

    def _open(self) -> Unavailable | None:
        if self._nvml is not None:
            return None
        try:
            nvml = self._load()
        except ImportError:
            return Unavailable.because("package_not_installed", package="nvidia-ml-py")
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return Unavailable.because("nvml_not_started", detail=str(error))
        self._nvml = nvml
        return None

    def _readings(self, handle: Any, at_s: float) -> Mapping[str, Any]:
        def one(names: tuple[str, ...], *arguments: Any, factor: float = 1.0) -> Maybe[float]:
            answer = self._call(names, handle, *arguments)
            return answer if isinstance(answer, Unavailable) else Reading(answer * factor, at_s)

        def part(answer: Any, name: str) -> Maybe[Any]:
            return answer if isinstance(answer, Unavailable) else Reading(getattr(answer, name), at_s)

        memory = self._call(("nvmlDeviceGetMemoryInfo",), handle)
        power_w = one(("nvmlDeviceGetPowerUsage",), factor=1e-3)
        limit_w = one(("nvmlDeviceGetEnforcedPowerLimit",), factor=1e-3)
        return {
            "name": self._call(("nvmlDeviceGetName",), handle),
            "temperature_c": one(_TEMPERATURE, _GPU_SENSOR),
            "critical_c": _above_0(one(("nvmlDeviceGetTemperatureThreshold",), _SLOWDOWN)),
            "fan_percent": one(("nvmlDeviceGetFanSpeed",)),
            "fan_rpm": one(("nvmlDeviceGetFanSpeedRPM",)),
            "power_w": within_power_limit(power_w, limit_w),
            "energy_j": one(("nvmlDeviceGetTotalEnergyConsumption",), factor=1e-3),
            "utilisation_percent": part(self._call(("nvmlDeviceGetUtilizationRates",), handle), "gpu"),
            "memory_used_bytes": part(memory, "used"),
            "memory_total_bytes": part(memory, "total"),
            "throttling": self._throttling(handle, at_s),
        }

    def _throttling(self, handle: Any, at_s: float) -> Maybe[str]:
        reasons = self._call(_EVENT_REASONS, handle)
        if isinstance(reasons, Unavailable):
            return reasons
        return Reading(", ".join(word for bit, word in _THROTTLING.items() if reasons & bit), at_s)

    def _call(self, names: tuple[str, ...], *arguments: Any) -> Any:
        """The first answer of these functions, else the reason of the first known one.

        A driver may know a newer function and not its newer arguments; the older one is then as good.
        """
        nvml, refusals = self._nvml, []
        for name in names:
            function = getattr(nvml, name, None)
            if function is None:
                continue
            try:
                return function(*arguments)
            except nvml.NVMLError_FunctionNotFound:
                continue
            except (nvml.NVMLError, UnicodeDecodeError) as error:  # names are decoded by the binding
                refusals.append(Unavailable.because("call_failed", source=name, detail=str(error)))
        return refusals[0] if refusals else Unavailable.because("driver_too_old", source=names[0])


def _above_0(critical_c: Maybe[float]) -> Maybe[float]:
    """A device that names no limit may name 0, and is not always beyond it."""
    if isinstance(critical_c, Reading) and critical_c.value <= 0:
        return Unavailable.because(
            "implausible", source="NVML", detail=f"a slowdown temperature of {critical_c.value:g} °C"
        )
    return critical_c
