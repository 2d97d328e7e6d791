"""GPUs and neural processors through sysfs: what each driver says, and nothing of one that sleeps."""

from dataclasses import fields
from pathlib import Path

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import NO_SENSOR, DeviceState, PowerState, Unavailable, known
from ollama_proxyd.edges.plumbing.sysfs import DeviceGate, Sysfs
from ollama_proxyd.edges.sensors.accelerators import Accelerators
from tests.reasons import why
from tests.upstreams.sysfs_tree import AMD_GPU, NPU, XE_GPU, SysfsTree


class Bench:
    def __init__(self, root: Path) -> None:
        self.tree = SysfsTree(root)
        sysfs = Sysfs(root)
        self.source = Accelerators(sysfs, DeviceGate(sysfs))
        self.now_s = 0.0

    def look_at_all(self, after_s: float = 5.0) -> tuple[DeviceState, ...]:
        self.now_s += after_s
        return self.source.sample(self.now_s).devices

    def look(self, after_s: float = 5.0) -> DeviceState:
        (device,) = self.look_at_all(after_s)
        return device


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_amd_card_says_what_its_hottest_sensor_and_its_memory_say(bench: Bench) -> None:
    bench.tree.amd_gpu()
    state = bench.look()
    assert (state.id, state.hardware, state.name) == (AMD_GPU, Hardware.AMDGPU, "AMD GPU 1002:7550")
    assert (known(state.temperature_c), known(state.critical_c)) == (58.0, 110.0)
    assert (known(state.fan_rpm), known(state.fan_percent)) == (1650.0, 50.0)
    assert (known(state.power_w), known(state.utilisation_percent)) == (12.0, 7.0)
    assert (known(state.memory_used_bytes), known(state.memory_total_bytes)) == (1 << 20, 16 << 30)


def test_amd_graphics_inside_a_processor_are_integrated_and_use_main_memory_too(bench: Bench) -> None:
    bench.tree.amd_gpu(integrated=True)
    state = bench.look()
    assert state.hardware is Hardware.IGPU
    assert (known(state.memory_used_bytes), known(state.memory_total_bytes)) == (3 << 20, 24 << 30)


def test_newer_amd_graphics_tell_their_power_at_this_moment(bench: Bench) -> None:
    folder = bench.tree.amd_gpu()
    bench.tree.remove(f"{folder}/hwmon/hwmon4/power1_average")
    bench.tree.write(f"{folder}/hwmon/hwmon4/power1_input", 9_500_000)
    assert known(bench.look().power_w) == 9.5


def test_intels_integrated_graphics_are_as_hot_as_the_package(bench: Bench) -> None:
    bench.tree.coretemp(71)
    bench.tree.xe_gpu()
    state = bench.look()
    assert (state.id, state.hardware) == (XE_GPU, Hardware.IGPU)
    assert (known(state.temperature_c), known(state.critical_c)) == (71.0, 110.0)


def test_an_intel_card_is_of_no_class_and_has_its_own_heat_and_watts(bench: Bench) -> None:
    bench.tree.coretemp(71)
    folder = bench.tree.xe_gpu(card=True)
    assert why(bench.look().power_w) == "needs 2 readings of it"
    bench.tree.write(f"{folder}/hwmon/hwmon3/energy1_input", 55555555 + 50_000_000)
    state = bench.look()
    assert state.hardware is Hardware.UNKNOWN
    assert (known(state.temperature_c), known(state.critical_c)) == (51.0, 105.0)
    assert known(state.power_w) == pytest.approx(10.0)
    assert known(state.energy_j) == pytest.approx(105.555555)


def test_what_an_engine_did_not_sleep_it_may_have_worked(bench: Bench) -> None:
    folder = bench.tree.xe_gpu()
    bench.look()
    bench.tree.write(f"{folder}/tile0/gt0/gtidle/idle_residency_ms", 123456 + 3750)
    assert known(bench.look().utilisation_percent) == pytest.approx(25.0)


def test_of_two_engines_the_busier_counts(bench: Bench) -> None:
    folder = bench.tree.xe_gpu()
    bench.tree.write(f"{folder}/tile0/gt1/gtidle/idle_residency_ms", 0)
    bench.tree.write(f"{folder}/tile0/gt1/freq0/throttle/status", 0)
    bench.look()
    bench.tree.write(f"{folder}/tile0/gt0/gtidle/idle_residency_ms", 123456 + 1000)
    bench.tree.write(f"{folder}/tile0/gt1/gtidle/idle_residency_ms", 5000)
    assert known(bench.look().utilisation_percent) == pytest.approx(80.0)


def test_i915_is_read_where_it_keeps_things(bench: Bench) -> None:
    folder = bench.tree.i915_gpu()
    bench.look()
    bench.tree.write(f"{folder}/drm/card1/gt/gt0/rc6_residency_ms", 5000 + 2500)
    bench.tree.write(f"{folder}/drm/card1/gt/gt0/throttle_reason_status", 1)
    bench.tree.write(f"{folder}/drm/card1/gt/gt0/throttle_reason_thermal", 1)
    state = bench.look()
    assert known(state.utilisation_percent) == pytest.approx(50.0)
    assert known(state.throttling) == "thermal"


def test_only_heat_is_throttling_of_intels_graphics(bench: Bench) -> None:
    folder = f"{bench.tree.xe_gpu()}/tile0/gt0/freq0/throttle"
    assert known(bench.look().throttling) == ""
    bench.tree.write(f"{folder}/reason_thermal", 1)
    assert known(bench.look().throttling) == "", "the status speaks for all reasons"
    bench.tree.write(f"{folder}/reason_thermal", 0)
    bench.tree.write(f"{folder}/status", 1)
    bench.tree.write(f"{folder}/reason_pl1", 1)
    assert known(bench.look().throttling) == ""
    bench.tree.write(f"{folder}/reason_thermal", 1)
    assert known(bench.look().throttling) == "thermal"


def test_the_neural_processor_is_as_busy_as_its_counter_says(bench: Bench) -> None:
    folder = bench.tree.intel_npu()
    first = bench.look()
    assert (first.id, first.hardware) == (NPU, Hardware.NPU)
    bench.tree.write(f"{folder}/npu_busy_time_us", 1_000_000 + 2_000_000)
    state = bench.look()
    assert known(state.utilisation_percent) == pytest.approx(40.0)
    assert known(state.memory_used_bytes) == 4096
    assert why(state.power_w) == "intel_vpu reports nothing of it"


def test_amds_neural_processor_is_known_by_its_driver(bench: Bench) -> None:
    bench.tree.pci("0000:c4:00.1", "1022:17f0", "118000", "amdxdna")
    state = bench.look()
    assert (state.hardware, state.power_state) == (Hardware.NPU, PowerState.AWAKE)
    assert why(state.utilisation_percent) == "amdxdna reports nothing of it"


def test_nouveau_is_read_through_hwmon(bench: Bench) -> None:
    folder = bench.tree.nvidia_gpu(driver="nouveau")
    bench.tree.hwmon(5, folder, "nouveau", temp1_input=52000, temp1_crit=95000)
    state = bench.look()
    assert (state.hardware, known(state.temperature_c)) == (Hardware.NVIDIA, 52.0)


def test_what_nvidias_driver_speaks_for_is_left_to_its_sensor(bench: Bench) -> None:
    bench.tree.nvidia_gpu()
    assert bench.look_at_all() == ()


def test_a_device_without_a_driver_says_so(bench: Bench) -> None:
    bench.tree.nvidia_gpu(driver="")
    assert why(bench.look().temperature_c) == "no driver is bound to the device"


@pytest.mark.parametrize(("ids", "kind"), [("1a03:2000", "030000"), ("1af4:1050", "038000"), ("8086:15f3", "020000")])
def test_what_computes_nothing_is_no_accelerator(bench: Bench, ids: str, kind: str) -> None:
    bench.tree.pci("0000:05:00.0", ids, kind, "some")
    assert bench.look_at_all() == ()


def test_a_device_that_sleeps_says_only_that(bench: Bench) -> None:
    bench.tree.amd_gpu()
    bench.tree.sleep(AMD_GPU)
    state = bench.look()
    assert state.power_state is PowerState.ASLEEP
    values = [getattr(state, field.name) for field in fields(state)][4:]
    assert set(values) == {Unavailable.because("asleep")}


def test_a_device_that_wakes_is_read(bench: Bench) -> None:
    bench.tree.amd_gpu()
    bench.tree.sleep(AMD_GPU)
    bench.look()
    bench.tree.wake(AMD_GPU)
    assert known(bench.look().temperature_c) == 58.0


def test_sleep_does_not_end_a_counter(bench: Bench) -> None:
    folder = bench.tree.intel_npu()
    bench.look()
    bench.tree.sleep(NPU)
    bench.look()
    bench.tree.wake(NPU)
    bench.tree.write(f"{folder}/npu_busy_time_us", 1_000_000 + 1_000_000)
    after = bench.look()
    assert known(after.utilisation_percent) == pytest.approx(10.0)


def test_a_device_that_is_plugged_in_appears_and_the_others_go_on(bench: Bench) -> None:
    folder = bench.tree.intel_npu()
    bench.look()
    bench.tree.amd_gpu()
    bench.source.rediscover()
    bench.tree.write(f"{folder}/npu_busy_time_us", 1_000_000 + 500_000)
    npu, amd = bench.look_at_all()
    assert known(npu.utilisation_percent) == pytest.approx(10.0)
    assert amd.id == AMD_GPU


def test_the_packages_heat_is_found_again_where_its_monitor_moved(bench: Bench) -> None:
    bench.tree.xe_gpu()
    folder = bench.tree.coretemp(50)
    bench.look()
    bench.tree.remove("class/hwmon/hwmon0")
    bench.tree.remove(folder)
    bench.tree.coretemp(66, number=7)
    bench.source.rediscover()
    assert known(bench.look().temperature_c) == 66.0


def test_every_absence_has_its_own_reason(bench: Bench) -> None:
    bench.tree.amd_gpu()
    bench.tree.xe_gpu()
    bench.tree.intel_npu()
    bench.tree.nvidia_gpu(driver="vfio-pci")
    states = bench.look_at_all()
    values = [getattr(state, field.name) for state in states for field in fields(state)[4:]]
    assert len(states) == 4
    assert NO_SENSOR not in values
    assert all(value.reason for value in values if isinstance(value, Unavailable))


def test_half_written_files_take_nothing_else_away(bench: Bench) -> None:
    folder = bench.tree.amd_gpu()
    bench.tree.empty(f"{folder}/gpu_busy_percent")
    bench.tree.empty(f"{folder}/hwmon/hwmon4/temp2_input")
    state = bench.look()
    assert isinstance(state.utilisation_percent, Unavailable)
    assert known(state.temperature_c) == 43.0
    assert known(state.power_w) == 12.0
