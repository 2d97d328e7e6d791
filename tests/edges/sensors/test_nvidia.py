"""NVIDIA's GPUs: read while they work, let go when idle, never woken."""

import inspect
from pathlib import Path

import pynvml
import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState, Unavailable, known
from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Sysfs
from ollama_proxyd.edges.sensors import nvml as nvml_module
from ollama_proxyd.edges.sensors.nvidia import Nvidia
from ollama_proxyd.edges.sensors.nvml import Nvml
from tests.edges.sensors.fake_nvml import FUNCTIONS, FakeNvml, Gpu, NVMLError
from tests.reasons import why
from tests.upstreams.sysfs_tree import NVIDIA_GPU, SysfsTree

SECOND_GPU = "0000:41:00.0"


class Bench:
    """A machine with GPUs, and the time that a test lets pass."""

    def __init__(self, root: Path) -> None:
        self.tree = SysfsTree(root)
        self.tree.nvidia_gpu()
        self.nvml = FakeNvml({NVIDIA_GPU: Gpu(), SECOND_GPU: Gpu()})
        self.used: set[str] = set()
        sysfs = Sysfs(root)
        self.source = Nvidia(sysfs, DeviceGate(sysfs), Nvml(self.nvml.load), self.used.__contains__)
        self.now_s = 0.0

    @property
    def gpu(self) -> Gpu:
        return self.nvml.gpus[NVIDIA_GPU]

    def look(self, after_s: float = 5.0) -> DeviceState:
        return self.look_at_all(after_s)[0]

    def look_at_all(self, after_s: float = 5.0) -> tuple[DeviceState, ...]:
        self.now_s += after_s
        return self.source.sample(self.now_s).devices


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_awake_gpu_says_everything_in_our_units(bench: Bench) -> None:
    state = bench.look()
    assert (state.id, state.hardware, state.power_state) == (NVIDIA_GPU, Hardware.NVIDIA, PowerState.AWAKE)
    assert state.name == "NVIDIA GeForce RTX 4060 Laptop GPU"
    assert known(state.temperature_c) == 48
    assert known(state.critical_c) == 87
    assert known(state.power_w) == pytest.approx(23.5)
    assert known(state.energy_j) == pytest.approx(1234.567)
    assert known(state.utilisation_percent) == 30
    assert (known(state.memory_used_bytes), known(state.memory_total_bytes)) == (1 << 30, 8 << 30)
    assert known(state.throttling) == ""


def test_a_gpu_without_a_fan_of_its_own_says_why(bench: Bench) -> None:
    assert why(bench.look().fan_percent) == "nvmlDeviceGetFanSpeed: Not Supported"


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x01 | 0x04 | 0x08 | 0x10 | 0x100, ""),
        (0x20, "software thermal slowdown"),
        (0x40 | 0x08, "hardware thermal slowdown"),
        (0x80, "power brake"),
        (0x60, "software thermal slowdown, hardware thermal slowdown"),
    ],
)
def test_only_heat_and_the_power_brake_are_throttling(bench: Bench, bits: int, words: str) -> None:
    bench.gpu.reasons = bits
    assert known(bench.look().throttling) == words


def test_the_library_is_not_even_loaded_while_the_gpu_sleeps(bench: Bench) -> None:
    bench.tree.sleep(NVIDIA_GPU)
    state = bench.look()
    assert state.power_state is PowerState.ASLEEP
    assert state.temperature_c == state.power_w == Unavailable.because("asleep")
    assert bench.nvml.loads == 0


def test_a_gpu_that_wakes_is_read_at_once(bench: Bench) -> None:
    bench.tree.sleep(NVIDIA_GPU)
    bench.look()
    bench.tree.wake(NVIDIA_GPU)
    assert known(bench.look().temperature_c) == 48


def test_one_session_serves_while_the_gpu_works(bench: Bench) -> None:
    for _ in range(10):
        bench.look()
    assert (bench.nvml.inits, bench.nvml.handles) == (1, [NVIDIA_GPU])
    assert bench.nvml.is_open


def test_a_gpu_that_has_done_nothing_for_a_while_is_let_go(bench: Bench) -> None:
    bench.look()
    bench.gpu.percent = 0
    for _ in range(3):
        bench.look()
        assert bench.nvml.is_open
    bench.look()
    assert not bench.nvml.is_open
    assert why(bench.look().temperature_c) == "idle: left alone so that it can sleep"
    assert not bench.nvml.is_open


def test_a_gpu_that_something_else_keeps_awake_is_looked_at_now_and_then(bench: Bench) -> None:
    bench.gpu.percent = 0
    for _ in range(40):
        bench.look()
    assert bench.nvml.inits == 3, "one session of 20 s, then one look a minute"
    assert not bench.nvml.is_open


def test_a_gpu_that_works_again_after_its_rest_is_followed_again(bench: Bench) -> None:
    bench.gpu.percent = 0
    for _ in range(6):
        bench.look()
    bench.gpu.percent = 80
    bench.look(60.0)
    assert known(bench.look().utilisation_percent) == 80
    assert bench.nvml.is_open


def test_a_gpu_that_serves_requests_is_never_left_alone(bench: Bench) -> None:
    bench.gpu.percent = 0
    bench.used.add(NVIDIA_GPU)
    for _ in range(10):
        assert known(bench.look().temperature_c) == 48
    assert bench.nvml.inits == 1


def test_a_request_ends_the_rest(bench: Bench) -> None:
    bench.gpu.percent = 0
    for _ in range(6):
        bench.look()
    assert not bench.nvml.is_open
    bench.used.add(NVIDIA_GPU)
    assert known(bench.look().temperature_c) == 48


def test_a_gpu_that_slept_has_not_been_idle(bench: Bench) -> None:
    bench.gpu.percent = 0
    for _ in range(6):
        bench.look()
    bench.tree.sleep(NVIDIA_GPU)
    bench.look()
    bench.tree.wake(NVIDIA_GPU)
    assert known(bench.look().temperature_c) == 48


def test_a_gpu_that_may_not_sleep_is_not_left_alone(bench: Bench) -> None:
    bench.tree.write(f"bus/pci/devices/{NVIDIA_GPU}/power/control", "on")
    bench.gpu.percent = 0
    for _ in range(10):
        assert known(bench.look().temperature_c) == 48
    assert bench.nvml.inits == 1


def without_utilisation(bench: Bench) -> None:
    """As a GPU in parts (MIG) and a virtual one are."""
    bench.nvml.failing["nvmlDeviceGetUtilizationRates"] = NVMLError("Not Supported")


def test_a_gpu_of_unknown_utilisation_is_asked_as_long_as_programs_are_on_it(bench: Bench) -> None:
    without_utilisation(bench)
    bench.gpu.programs = 1
    for _ in range(10):
        assert known(bench.look().temperature_c) == 48
    bench.gpu.programs = 0
    for _ in range(5):
        bench.look()
    assert why(bench.look().temperature_c) == "idle: left alone so that it can sleep"
    assert not bench.nvml.is_open


def test_a_gpu_of_which_nothing_is_known_but_its_requests_is_let_go_and_not_called_idle(bench: Bench) -> None:
    without_utilisation(bench)
    bench.nvml.failing["nvmlDeviceGetComputeRunningProcesses"] = NVMLError("Insufficient Permissions")
    bench.used.add(NVIDIA_GPU)
    for _ in range(10):
        assert known(bench.look().temperature_c) == 48
    bench.used.clear()
    for _ in range(5):
        bench.look()
    assert (
        why(bench.look().temperature_c)
        == "whether it works is not known, no request does on it: left alone so it can sleep"
    )
    assert not bench.nvml.is_open


def test_a_gpu_of_unknown_utilisation_that_may_not_sleep_is_not_left_alone(bench: Bench) -> None:
    without_utilisation(bench)
    bench.tree.write(f"bus/pci/devices/{NVIDIA_GPU}/power/control", "on")
    for _ in range(10):
        assert known(bench.look().temperature_c) == 48


def test_of_several_gpus_only_those_awake_get_a_handle(bench: Bench) -> None:
    bench.tree.nvidia_gpu(SECOND_GPU)
    bench.tree.sleep(NVIDIA_GPU)
    first, second = bench.look_at_all()
    bench.look_at_all()
    assert (first.power_state, second.power_state) == (PowerState.ASLEEP, PowerState.AWAKE)
    assert known(second.temperature_c) == 48
    assert (bench.nvml.inits, bench.nvml.handles) == (1, [SECOND_GPU])


def test_an_idle_gpu_is_let_go_while_another_one_works(bench: Bench) -> None:
    bench.tree.nvidia_gpu(SECOND_GPU)
    bench.gpu.percent = 0
    for _ in range(6):
        bench.look_at_all()
    bench.nvml.handles.clear()
    idle, busy = bench.look_at_all()
    assert why(idle.temperature_c) == "idle: left alone so that it can sleep"
    assert known(busy.temperature_c) == 48
    assert NVIDIA_GPU not in bench.nvml.handles


def test_without_a_driver_library_there_is_a_reason(bench: Bench) -> None:
    bench.nvml.refusal = NVMLError("NVML Shared Library Not Found")
    state = bench.look()
    assert state.power_state is PowerState.AWAKE
    assert why(state.temperature_c) == "NVML does not start: NVML Shared Library Not Found"
    bench.nvml.refusal = None
    assert known(bench.look().temperature_c) == 48


def test_without_the_binding_there_is_a_reason(bench: Bench) -> None:
    def load() -> FakeNvml:
        raise ImportError("pynvml")

    answer = Nvml(load).read(NVIDIA_GPU, 0.0)
    assert why(answer) == "the Python package nvidia-ml-py is not installed"


def test_a_gpu_that_nvml_does_not_know_has_a_reason_and_holds_no_session(bench: Bench) -> None:
    bench.nvml.gpus.clear()
    assert why(bench.look().temperature_c) == "nvmlDeviceGetHandleByPciBusId: Not Found"
    assert not bench.nvml.is_open


@pytest.mark.parametrize("name", ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons"])
def test_an_older_driver_is_asked_by_the_older_name(bench: Bench, name: str) -> None:
    bench.nvml.missing = {name}
    bench.gpu.reasons = 0x40
    state = bench.look()
    assert known(state.temperature_c) == 48
    assert known(state.throttling) == "hardware thermal slowdown"


def test_a_driver_that_knows_neither_name_says_so(bench: Bench) -> None:
    bench.nvml.missing = {"nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"}
    assert why(bench.look().temperature_c) == "the driver is too old for nvmlDeviceGetTemperatureV"


def test_a_gpu_that_is_taken_away_is_forgotten_with_its_session(bench: Bench) -> None:
    bench.look()
    bench.tree.remove(f"bus/pci/devices/{NVIDIA_GPU}")
    bench.source.rediscover()
    assert bench.look_at_all() == ()
    assert not bench.nvml.is_open


def test_a_function_that_the_driver_has_and_refuses_is_asked_by_its_older_name(bench: Bench) -> None:
    bench.nvml.failing["nvmlDeviceGetTemperatureV"] = NVMLError("Argument Version Mismatch")
    assert known(bench.look().temperature_c) == 48
    bench.nvml.failing["nvmlDeviceGetTemperature"] = NVMLError("Not Supported")
    reason = "nvmlDeviceGetTemperatureV: Argument Version Mismatch"
    assert why(bench.look().temperature_c) == reason, "of two refusals the present function's"


def test_a_name_that_is_no_text_is_left_out(bench: Bench) -> None:
    bench.nvml.failing["nvmlDeviceGetName"] = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    state = bench.look()
    assert known(state.temperature_c) == 48
    assert state.name == "NVIDIA GPU 10de:28a0"


def test_a_session_in_which_a_gpu_in_use_says_nothing_any_more_is_ended_and_the_next_look_opens_another(
    bench: Bench,
) -> None:
    bench.used.add(NVIDIA_GPU)
    bench.look()
    bench.nvml.failing[""] = NVMLError("GPU is lost")
    assert why(bench.look().temperature_c) == "nvmlDeviceGetTemperatureV: GPU is lost"
    assert not bench.nvml.is_open
    bench.nvml.failing.clear()
    assert known(bench.look().temperature_c) == 48
    assert bench.nvml.inits == 2


def test_a_slowdown_temperature_of_0_is_none(bench: Bench) -> None:
    bench.gpu.slowdown_celsius = 0
    assert why(bench.look().critical_c) == "NVML reports a slowdown temperature of 0 °C"


def test_the_fake_has_the_functions_of_the_real_binding() -> None:
    for name in FUNCTIONS:
        assert inspect.isfunction(getattr(pynvml, name)), name
    assert issubclass(pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError)


def test_our_numbers_are_those_of_the_real_binding() -> None:
    assert tuple(nvml_module._THROTTLING) == (
        pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    )
    assert pynvml.NVML_TEMPERATURE_GPU == nvml_module._GPU_SENSOR
    assert pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN == nvml_module._SLOWDOWN


def test_the_real_binding_takes_our_arguments() -> None:
    for name, arguments in {
        "nvmlDeviceGetHandleByPciBusId": (NVIDIA_GPU,),
        "nvmlDeviceGetTemperatureV": (None, 0),
        "nvmlDeviceGetTemperature": (None, 0),
        "nvmlDeviceGetTemperatureThreshold": (None, 1),
        "nvmlDeviceGetUtilizationRates": (None,),
        "nvmlDeviceGetComputeRunningProcesses": (None,),
        "nvmlDeviceGetGraphicsRunningProcesses": (None,),
        "nvmlDeviceGetMemoryInfo": (None,),
    }.items():
        inspect.signature(getattr(pynvml, name)).bind(*arguments)


def test_the_real_binding_without_a_driver_is_an_answer() -> None:
    answer = Nvml().read("ffff:ff:1f.7", 0.0)
    assert isinstance(answer, Unavailable)
