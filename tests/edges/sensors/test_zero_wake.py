"""The zero-wake rule, watched from below: what a round of sensing opens, lists, loads and starts."""

import ast
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxyd.core.readings import PowerState
from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Sysfs
from ollama_proxyd.edges.sensors.accelerators import Accelerators
from ollama_proxyd.edges.sensors.cpu import Cpu
from ollama_proxyd.edges.sensors.nvidia import Nvidia
from ollama_proxyd.edges.sensors.nvml import Nvml
from ollama_proxyd.edges.sensors.sampled import Sampler
from tests.edges.sensors.fake_nvml import FakeNvml, Gpu
from tests.sources import parsed
from tests.upstreams.sysfs_tree import AMD_GPU, NPU, NVIDIA_GPU, XE_GPU, SysfsTree, laptop

SENSORS = Path(__file__).parents[3] / "ollama_proxyd" / "edges" / "sensors"
DEVICES = (XE_GPU, NPU, NVIDIA_GPU, AMD_GPU)
HARMLESS = re.compile(r"(class|vendor|device|power/runtime_status|hwmon/hwmon\d+/name)")
"""Files of a sleeping device that the kernel answers by itself."""
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"}


class Watch:
    """Everything that this process opens, lists, loads or starts while it is on. An audit hook cannot be taken back."""

    def __init__(self) -> None:
        self.on = False
        self.opened: list[str] = []
        self.loaded: list[str] = []
        self.started: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            self.opened.append(str(arguments[0]))
        elif event == "ctypes.dlopen" or (event == "import" and arguments[0] == "pynvml"):
            self.loaded.append(str(arguments[0]))
        elif event in STARTS:
            self.started.append(event)


WATCH = Watch()


@pytest.fixture
def watch() -> Iterator[Watch]:
    WATCH.opened, WATCH.loaded, WATCH.started = [], [], []
    WATCH.on = True
    yield WATCH
    WATCH.on = False


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    return laptop(tmp_path)


def sources(tree: SysfsTree, nvml: Nvml) -> tuple[Sampler, ...]:
    sysfs = Sysfs(tree.root)
    gate = DeviceGate(sysfs)
    return Cpu(sysfs), Accelerators(sysfs, gate), Nvidia(sysfs, gate, nvml, lambda _: False)


def of_devices(tree: SysfsTree, opened: list[str]) -> list[str]:
    """What was opened below the four devices, relative to its device."""
    folders = [os.path.realpath(tree.path(f"bus/pci/devices/{address}")) + "/" for address in DEVICES]
    real = [os.path.realpath(path) for path in opened]
    return [path.removeprefix(folder) for path in real for folder in folders if path.startswith(folder)]


def test_of_sleeping_devices_nothing_is_opened_that_could_wake_them(tree: SysfsTree, watch: Watch) -> None:
    for address in DEVICES:
        tree.sleep(address)
    everything = sources(tree, Nvml())
    watch.opened.clear()
    for at_s in range(0, 700, 5):
        for source in everything:
            if at_s == 100:
                source.rediscover()
            states = source.sample(float(at_s)).devices
            assert all(state.power_state is PowerState.ASLEEP for state in states if state.id != "cpu")
    below = of_devices(tree, watch.opened)
    assert below.count("power/runtime_status") > 500, "the watch must see what is opened"
    assert [path for path in below if not HARMLESS.fullmatch(path)] == []


def test_with_sleeping_devices_no_node_is_opened_no_library_loaded_no_process_started(
    tree: SysfsTree, watch: Watch
) -> None:
    for address in DEVICES:
        tree.sleep(address)
    for source in sources(tree, Nvml()):
        source.sample(0.0)
        source.sample(5.0)
    outside = [path for path in watch.opened if not path.startswith((str(tree.root), "/proc/"))]
    assert (outside, watch.loaded, watch.started) == ([], [], [])


def test_the_watch_would_see_a_forbidden_step(tree: SysfsTree, watch: Watch) -> None:
    (_, accelerators, nvidia) = sources(tree, Nvml())
    accelerators.sample(0.0)
    tree.wake(NVIDIA_GPU)
    nvidia.sample(0.0)
    tree.sleep(NVIDIA_GPU)
    nvidia.sample(5.0)  # lets a real driver go, where this machine has one
    assert [path for path in of_devices(tree, watch.opened) if not HARMLESS.fullmatch(path)]
    assert "libnvidia-ml.so.1" in watch.loaded


def test_a_gpu_that_falls_asleep_is_neither_read_nor_held(tree: SysfsTree) -> None:
    nvml = FakeNvml({NVIDIA_GPU: Gpu()})
    nvidia = sources(tree, Nvml(nvml.load))[2]
    tree.wake(NVIDIA_GPU)
    nvidia.sample(0.0)
    assert nvml.is_open
    tree.sleep(NVIDIA_GPU)
    nvidia.sample(5.0)
    assert not nvml.is_open
    assert nvml.inits == 1


def test_a_round_opens_few_files(tree: SysfsTree, watch: Watch) -> None:
    everything = sources(tree, Nvml())
    for source in everything:
        source.sample(0.0)
    watch.opened.clear()
    for source in everything:
        source.sample(5.0)
    assert len(watch.opened) <= 30


@pytest.mark.parametrize("path", sorted(SENSORS.glob("*.py")), ids=lambda path: path.name)
def test_no_sensor_names_a_device_node_or_can_start_a_process(path: Path) -> None:
    tree = parsed(path)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not imported & {"subprocess", "multiprocessing", "pynvml"}
    assert not [word for word in words if word.startswith("/dev/")]
    assert ("pynvml" in words) == (path.name == "nvml.py")
