"""The processor: heat, fans, watts, throttling, load and memory, each with its reason where it is missing."""

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import NO_SENSOR, DeviceState, PowerState, Reading, Unavailable, known
from ollama_proxyd.edges.plumbing.sysfs import Sysfs
from ollama_proxyd.edges.sensors.cpu import Cpu, Load, model_name
from ollama_proxyd.edges.sensors.proc import Times
from tests.reasons import why
from tests.upstreams.sysfs_tree import SysfsTree, laptop


class Bench:
    def __init__(self, tree: SysfsTree) -> None:
        self.tree = tree
        self.times = Times(0, 0)
        self.source = Cpu(Sysfs(tree.root), "A processor", Load(lambda: self.times))
        self.now_s = 0.0

    def look(self, after_s: float = 5.0) -> DeviceState:
        self.now_s += after_s
        (device,) = self.source.sample(self.now_s).devices
        return device


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SysfsTree(tmp_path))


def test_the_package_and_not_a_core_is_the_processors_temperature(bench: Bench) -> None:
    folder = bench.tree.coretemp(55)
    bench.tree.write(f"{folder}/temp2_input", 99000)
    state = bench.look()
    assert (state.id, state.hardware, state.power_state) == ("cpu", Hardware.CPU, PowerState.AWAKE)
    assert state.temperature_c == Reading(55.0, 5.0)
    assert known(state.critical_c) == 110.0


def test_of_an_amd_processors_temperatures_the_true_die_counts(bench: Bench) -> None:
    values: dict[str, Any] = {"temp1_label": "Tctl", "temp1_input": 82000}
    values |= {"temp2_label": "Tdie", "temp2_input": 62000, "temp3_label": "Tccd1", "temp3_input": 61000}
    bench.tree.hwmon(0, "devices/pci0000:00/0000:00:18.3", "k10temp", **values)
    state = bench.look()
    assert known(state.temperature_c) == 62.0
    assert why(state.critical_c) == "k10temp does not report temp2_crit"


def test_a_monitor_without_labels_counts_with_its_hottest_sensor(bench: Bench) -> None:
    bench.tree.hwmon(0, "devices/platform/x", "coretemp", temp1_input=40000, temp2_input=70000)
    assert known(bench.look().temperature_c) == 70.0


def test_without_a_monitor_the_thermal_zone_of_the_package_is_read(bench: Bench) -> None:
    bench.tree.thermal_zone(61)
    state = bench.look()
    assert (known(state.temperature_c), known(state.critical_c)) == (61.0, 105.0)


def test_a_thermal_zone_of_something_else_is_not_the_processor(bench: Bench) -> None:
    bench.tree.thermal_zone(61, kind="acpitz")
    reason = bench.look().temperature_c
    assert isinstance(reason, Unavailable)
    assert "hwmon of coretemp" in str(reason.reason)


def test_a_half_written_temperature_is_missing_for_one_reading(bench: Bench) -> None:
    folder = bench.tree.coretemp(55)
    assert known(bench.look().temperature_c) == 55.0
    bench.tree.empty(f"{folder}/temp1_input")
    missing = bench.look().temperature_c
    assert isinstance(missing, Unavailable)
    assert "temp1_input was empty" in str(missing.reason)
    bench.tree.write(f"{folder}/temp1_input", 56000)
    assert known(bench.look().temperature_c) == 56.0


def test_zero_degrees_is_a_temperature(bench: Bench) -> None:
    bench.tree.coretemp(0)
    assert known(bench.look().temperature_c) == 0.0


NO_MAXIMUM = Unavailable.because("fan_maximum_unknown", sensor="thinkpad", fan_rpm=2400.0)


def test_a_fan_has_a_percentage_only_where_its_maximum_is_known(bench: Bench) -> None:
    bench.tree.fan(2400)
    state = bench.look()
    assert (known(state.fan_rpm), state.fan_percent) == (2400.0, NO_MAXIMUM)


def test_a_fan_with_a_maximum_has_a_percentage(bench: Bench) -> None:
    bench.tree.fan(2400, most_rpm=4800)
    assert known(bench.look().fan_percent) == 50.0


def test_of_several_fans_the_fastest_counts_and_a_cards_own_is_not_among_them(bench: Bench) -> None:
    folder = bench.tree.fan(2400, most_rpm=4800)
    bench.tree.write(f"{folder}/fan2_input", 3000)
    bench.tree.write(f"{folder}/fan2_max", 4000)
    bench.tree.amd_gpu()
    bench.tree.write("class/hwmon/hwmon4/fan1_input", 3300)
    state = bench.look()
    assert (known(state.fan_rpm), known(state.fan_percent)) == (3000.0, 75.0)


def test_a_fan_that_stands_still_turns_at_0(bench: Bench) -> None:
    bench.tree.fan(0, most_rpm=4800)
    assert (known(bench.look().fan_rpm), known(bench.look().fan_percent)) == (0.0, 0.0)


def test_watts_are_the_packages_joules_over_time(bench: Bench) -> None:
    zone = bench.tree.rapl(mode=0o644)
    assert why(bench.look().power_w) == "needs 2 readings of it"
    bench.tree.write(f"{zone}/energy_uj", 123456789 + 60_000_000)
    state = bench.look()
    assert known(state.power_w) == pytest.approx(12.0)
    assert known(state.energy_j) == pytest.approx(60.0)


def test_joules_go_on_where_the_counter_wraps(bench: Bench) -> None:
    zone = bench.tree.rapl(mode=0o644)
    bench.tree.write(f"{zone}/energy_uj", 262143328850 - 10_000_000)
    bench.look()
    bench.tree.write(f"{zone}/energy_uj", 20_000_000)
    assert known(bench.look().power_w) == pytest.approx(6.0)


def test_looking_anew_does_not_forget_the_counter(bench: Bench) -> None:
    zone = bench.tree.rapl(mode=0o644)
    bench.look()
    bench.source.rediscover()
    bench.tree.write(f"{zone}/energy_uj", 123456789 + 5_000_000)
    assert known(bench.look().power_w) == pytest.approx(1.0)


def test_a_counter_that_is_for_root_alone_says_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusing: Callable[[str], Any]
) -> None:
    bench.tree.rapl()
    path = f"{bench.tree.root}/class/powercap/intel-rapl:0/energy_uj"
    monkeypatch.setattr(os, "open", refusing(path))
    state = bench.look()
    reason = f"{path} is for root alone; an administrator may allow it: chmod o+r {path}"
    assert isinstance(state.power_w, Unavailable)
    assert isinstance(state.energy_j, Unavailable)
    assert (str(state.power_w.reason), str(state.energy_j.reason)) == (reason, reason)


@pytest.fixture
def refusing() -> Callable[[str], Any]:
    real = os.open

    def refuse(forbidden: str) -> Any:
        def opening(path: str, *arguments: int, **more: Any) -> int:
            if path == forbidden:
                raise PermissionError(13, "Permission denied", path)
            return real(path, *arguments, **more)

        return opening

    return refuse


def test_a_throttle_counter_that_rises_is_throttling_until_it_stands_still(bench: Bench) -> None:
    bench.tree.cpus()
    assert why(bench.look().throttling) == "needs 2 readings of it"
    assert known(bench.look().throttling) == ""
    for cpu in range(4):
        bench.tree.write(f"devices/system/cpu/cpu{cpu}/thermal_throttle/package_throttle_count", 5)
    assert known(bench.look().throttling) == "hot: the throttle counter has risen by 2"
    assert known(bench.look().throttling) == ""


def test_each_package_is_counted_once_and_none_is_forgotten(bench: Bench) -> None:
    bench.tree.cpus()
    bench.tree.write("devices/system/cpu/cpu3/topology/physical_package_id", 1)
    bench.look()
    bench.tree.write("devices/system/cpu/cpu3/thermal_throttle/package_throttle_count", 4)
    assert known(bench.look().throttling) == "hot: the throttle counter has risen by 1"


def test_load_is_what_was_not_idle_since_the_last_reading(bench: Bench) -> None:
    assert why(bench.look().utilisation_percent) == "needs 2 readings of it"
    bench.times = Times(total=100, idle=70)
    sensed = bench.source.sample(10.0)
    assert sensed.system["cpu_percent"] == Reading(pytest.approx(30.0), 10.0)
    assert sensed.devices[0].utilisation_percent == sensed.system["cpu_percent"]


def test_memory_is_that_of_the_machine(bench: Bench) -> None:
    sensed = bench.source.sample(1.0)
    total = known(sensed.devices[0].memory_total_bytes)
    available = known(sensed.system["memory_available_bytes"])
    assert total is not None
    assert 0 < available < total
    assert known(sensed.devices[0].memory_used_bytes) == total - available


def test_every_absence_has_its_own_reason(bench: Bench) -> None:
    state = bench.look()
    values = [getattr(state, field.name) for field in fields(state) if field.name != "slope_c_per_s"]
    absent = [value for value in values if isinstance(value, Unavailable)]
    assert len(absent) == 8
    assert all(value.reason and value != NO_SENSOR for value in absent)


def test_a_monitor_that_is_unloaded_is_missing_and_found_again(bench: Bench) -> None:
    folder = bench.tree.coretemp()
    bench.look()
    bench.tree.remove("class/hwmon/hwmon0")
    bench.tree.remove(folder)
    gone = bench.look().temperature_c
    assert isinstance(gone, Unavailable)
    assert "is not there" in str(gone.reason)
    bench.tree.coretemp(44, number=7)
    bench.source.rediscover()
    assert known(bench.look().temperature_c) == 44.0


def test_without_any_event_the_machine_is_looked_over_every_few_minutes(bench: Bench) -> None:
    bench.look()
    bench.tree.coretemp(44)
    assert isinstance(bench.look().temperature_c, Unavailable)
    assert known(bench.look(300.0).temperature_c) == 44.0


def test_the_name_is_the_makers(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Ultra 7 155H\nprocessor\t: 1\nmodel name\t: no\n")
    assert model_name(cpuinfo) == "Ultra 7 155H"
    assert model_name(tmp_path / "none") == "CPU"


def test_a_whole_laptop_is_understood(tmp_path: Path) -> None:
    tree = laptop(tmp_path)
    state = Bench(tree).look()
    assert (known(state.temperature_c), known(state.fan_rpm)) == (55.0, 2400.0)
