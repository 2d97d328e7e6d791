"""A binding of NVML without a driver: what it says is set by the test, what is called is counted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    pass


class FunctionNotFound(NVMLError):
    pass


@dataclass
class Gpu:
    celsius: int = 48
    milliwatts: int = 23_500
    millijoules: int = 1_234_567
    percent: int = 30
    slowdown_celsius: int = 87
    reasons: int = 0
    programs: int = 0


@dataclass
class FakeNvml:
    """Has the functions of nvidia-ml-py that we call, under their names."""

    gpus: dict[str, Gpu]
    loads: int = 0
    inits: int = 0
    shutdowns: int = 0
    handles: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """Functions that the driver does not know."""
    failing: dict[str, Exception] = field(default_factory=dict)
    """What some functions raise, or all of them where the name is ""."""
    refusal: NVMLError | None = None
    """What nvmlInit raises."""

    NVMLError = NVMLError
    NVMLError_FunctionNotFound = FunctionNotFound

    def load(self) -> "FakeNvml":
        self.loads += 1
        return self

    @property
    def is_open(self) -> bool:
        return self.inits > self.shutdowns

    def nvmlInit(self) -> None:  # noqa: N802
        if self.refusal is not None:
            raise self.refusal
        self.inits += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        assert self.is_open
        self.shutdowns += 1

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _ANSWERS:
            raise AttributeError(name)

        def call(first: Any, *_: Any) -> Any:
            assert self.is_open, f"{name} was called without nvmlInit"
            if name in self.missing:
                raise FunctionNotFound("Function Not Found")
            failure = self.failing.get(name) or self.failing.get("")
            if failure is not None:
                raise failure
            return _ANSWERS[name](self, first)

        return call


def _handle(nvml: FakeNvml, address: str) -> Gpu:
    if address not in nvml.gpus:
        raise NVMLError("Not Found")
    nvml.handles.append(address)
    return nvml.gpus[address]


def _no_fan(_nvml: FakeNvml, _gpu: Gpu) -> int:
    raise NVMLError("Not Supported")


_ANSWERS: dict[str, Callable[[FakeNvml, Any], Any]] = {
    "nvmlDeviceGetHandleByPciBusId": _handle,
    "nvmlDeviceGetName": lambda _, __: "NVIDIA GeForce RTX 4060 Laptop GPU",
    "nvmlDeviceGetTemperatureV": lambda _, gpu: gpu.celsius,
    "nvmlDeviceGetTemperature": lambda _, gpu: gpu.celsius,
    "nvmlDeviceGetTemperatureThreshold": lambda _, gpu: gpu.slowdown_celsius,
    "nvmlDeviceGetFanSpeed": _no_fan,
    "nvmlDeviceGetFanSpeedRPM": _no_fan,
    "nvmlDeviceGetPowerUsage": lambda _, gpu: gpu.milliwatts,
    "nvmlDeviceGetTotalEnergyConsumption": lambda _, gpu: gpu.millijoules,
    "nvmlDeviceGetUtilizationRates": lambda _, gpu: SimpleNamespace(gpu=gpu.percent, memory=1),
    "nvmlDeviceGetComputeRunningProcesses": lambda _, gpu: [SimpleNamespace(pid=each) for each in range(gpu.programs)],
    "nvmlDeviceGetGraphicsRunningProcesses": lambda _, __: [],
    "nvmlDeviceGetMemoryInfo": lambda _, __: SimpleNamespace(used=1 << 30, total=8 << 30),
    "nvmlDeviceGetCurrentClocksEventReasons": lambda _, gpu: gpu.reasons,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _, gpu: gpu.reasons,
}
FUNCTIONS = (*_ANSWERS, "nvmlInit", "nvmlShutdown")
