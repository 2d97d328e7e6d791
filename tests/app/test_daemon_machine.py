"""The daemon and the machine around it, wired as in life, on a tree that stands for /sys and without any bus."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.machine import is_in_use
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.administration import Entry
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, Reading, SystemState
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.edges.plumbing.clock import SystemClock
from tests.app.conftest import Start
from tests.fakes import FakeBackend, services_of
from tests.upstreams.sysfs_tree import SysfsTree


async def test_the_heat_of_the_machine_reaches_auto_and_the_answer_to_where_a_request_goes(
    start: Start, tmp_path: Path
) -> None:
    sysfs = SysfsTree(tmp_path / "sys")
    processor = sysfs.coretemp(45)
    sensors = {"sysfs_root": str(tmp_path / "sys"), "idle_interval_s": 0.1, "busy_interval_s": 0.1}
    efficiency = {"default_mode": "Auto", "auto": {"dwell_s": 0}, "quiet_hours": {"enabled": False}}
    running = await start({"sensors": sensors, "efficiency": efficiency})
    await running.until(running.services.system, lambda system: system.devices)
    body = await running.get("/thermal")
    assert body["devices"][0]["id"] == "cpu"
    assert body["hottest_celsius"] == 45.0
    assert (await running.get("/efficiency"))["effective_mode"] == "Balanced"
    sysfs.write(f"{processor}/temp1_input", 80_000)
    await running.until(running.services.governor.setting, lambda setting: setting.effective is not Mode.BALANCED)
    body = await running.get("/efficiency")
    assert (body["effective_mode"], body["reason"]) == ("Efficiency", "the hottest device is at 80 °C, above 75 °C")


def has_two_samples(system: SystemState) -> bool:
    """Whether Auto believes the temperature."""
    return isinstance(system.hottest_c, Reading) and isinstance(system.hottest_c.before, Reading)


async def test_a_reload_puts_new_numbers_of_auto_in_force(start: Start, tmp_path: Path) -> None:
    SysfsTree(tmp_path / "sys").coretemp(60)
    sensors = {"sysfs_root": str(tmp_path / "sys"), "idle_interval_s": 0.1, "busy_interval_s": 0.1}
    quiet = {"default_mode": "Auto", "quiet_hours": {"enabled": False}}
    running = await start({"sensors": sensors, "efficiency": quiet})
    await running.until(running.services.system, has_two_samples)
    assert (await running.get("/efficiency"))["effective_mode"] == "Balanced"
    await running.rewrite({"sensors": sensors, "efficiency": {**quiet, "auto": {"hot_c": 55}}})
    assert (await running.get("/efficiency"))["reason"] == "the hottest device is at 60 °C, above 55 °C"


async def test_the_hottest_device_is_one_that_a_configured_backend_runs_on(start: Start, tmp_path: Path) -> None:
    sysfs = SysfsTree(tmp_path / "sys")
    sysfs.coretemp(90)
    sysfs.amd_gpu()
    backend = {"id": "gpu", "endpoint": "http://127.0.0.1:1", "hardware": "amdgpu"}
    config = {"sensors": {"sysfs_root": str(tmp_path / "sys")}, "backends": [backend]}
    running = await start(config, demo=Demo.NEVER)
    await running.until(running.services.system, lambda system: len(system.devices) > 1)
    body = await running.get("/thermal")
    (device,) = (each for each in body["devices"] if each["hardware"] == "amdgpu")
    assert device["backends"] == ["gpu"]
    assert body["hottest_celsius"] == device["temperature_celsius"] == 58.0


async def test_without_any_bus_the_daemon_runs_and_says_so_once(start: Start, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "sys").mkdir()
    running = await start({"sensors": {"sysfs_root": str(tmp_path / "sys")}})
    await running.until(running.services.system, lambda system: "system bus" in str(system.on_battery))
    assert (await running.get("/thermal"))["status"] == "unavailable"
    assert (await running.get("/health"))["status"] == "ok"
    words = ("nothing is known of battery", "no D-Bus service")
    async with asyncio.timeout(20):
        while not all(any(said in line for line in lines) for said in words):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    for said in words:
        assert sum(said in line for line in lines) == 1


async def test_sensors_and_bus_can_be_switched_off(start: Start, lines: list[str]) -> None:
    running = await start({"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}})
    await asyncio.sleep(0.05)
    unknown = (await running.get("/thermal"))["unknown"]
    assert {each["reason_code"] for name, each in unknown.items() if name != "quiet_hours"} == {"sensors_off"}
    assert not any("bus" in line for line in lines)


async def test_the_simulated_devices_of_the_demo_are_no_devices_of_this_machine(start: Start, tmp_path: Path) -> None:
    SysfsTree(tmp_path / "sys").coretemp(45)
    running = await start({"sensors": {"sysfs_root": str(tmp_path / "sys")}})
    await running.until(running.services.system, lambda system: system.devices)
    assert (await running.get("/thermal"))["devices"][0]["backends"] == []


async def test_a_fault_in_one_reload_is_not_the_end_of_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quiet = {"sensors": {"enabled": False}, "dbus": {"enabled": False}}
    running = await start(quiet)
    (tmp_path / "config.yaml").write_text(json.dumps({**quiet, "efficiency": {"auto": {"hot_c": 60}}}))
    real, faults = LaunchOptions.load, [KeyError("a fault of ours")]

    def load(options: LaunchOptions, kept: Sequence[Entry] | None = None) -> Config:
        if faults:
            raise faults.pop()
        return real(options, kept)

    monkeypatch.setattr(LaunchOptions, "load", load)
    running.daemon.ask_reload()
    async with asyncio.timeout(20):
        while faults:  # noqa: ASYNC110 - no cell tells that it failed
            await asyncio.sleep(0.01)
    running.daemon.ask_reload()
    await running.until(running.services.governor.modes, lambda modes: modes.auto.hot_c == 60)


async def test_a_backend_that_was_switched_off_stays_so_over_a_reload(start: Start) -> None:
    running = await start({"sensors": {"enabled": False}, "dbus": {"enabled": False}})
    running.daemon.services.fleet.set_enabled("npu", enabled=False)
    await running.rewrite({"sensors": {"enabled": False}, "dbus": {"enabled": False}, "routing": {"retries": 0}})
    healths = {each["id"]: each["health"] for each in (await running.get("/health"))["backends"]}
    assert healths == {"npu": "disabled", "igpu": "up", "nvidia": "up", "cpu": "up"}


async def test_a_device_is_in_use_while_requests_run_on_it() -> None:
    services = await services_of(FakeBackend("npu"), FakeBackend("nvidia"))
    devices = (DeviceState("0000:00:0b.0", Hardware.NPU, ""), DeviceState("0000:01:00.0", Hardware.NVIDIA, ""))
    services.system.set(SystemState(on_battery=Reading(value=False, at_s=0.0), devices=devices))
    with services.fleet.lease("nvidia"):
        assert [is_in_use(services, device.id) for device in devices] == [False, True]
    assert not is_in_use(services, "0000:01:00.0")


async def test_a_setting_that_somebody_changes_moves_auto_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    efficiency = {"default_mode": "Auto", "auto": {"dwell_s": 0}, "quiet_hours": {"enabled": False}}
    running = await start({"sensors": {"sysfs_root": str(tmp_path / "sys")}, "efficiency": efficiency})
    services = running.services
    await running.daemon.reload()  # its turn comes after all that the start has found: that would undo our readings
    at_43 = {"on_battery": Reading(value=True, at_s=0.0), "battery_percent": Reading(43.0, 0.0)}
    services.system.set(SystemState(**at_43))
    await running.until(services.governor.setting, lambda setting: setting.effective is Mode.EFFICIENCY)
    services.settings.change({"low_battery_percent": 30})
    await running.until(services.governor.setting, lambda setting: setting.effective is Mode.BALANCED)
    assert str(services.governor.setting.value.reason) == "on battery at 43 %"
    hour = int(SystemClock().local_minute()) // 60
    start_, end = f"{hour:02}:00", f"{(hour + 2) % 24:02}:00"
    services.settings.change({"quiet_hours_enabled": True, "quiet_hours_start": start_, "quiet_hours_end": end})
    await running.until(services.governor.setting, lambda setting: setting.effective is Mode.QUIET)


async def test_a_changed_setting_survives_a_reload_and_a_restart(start: Start) -> None:
    config: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}}
    running = await start(config)
    running.services.settings.change({"low_battery_percent": 30, "quiet_hours_start": "23:00"})
    config["efficiency"] = {"auto": {"low_battery_percent": 60, "full_battery_percent": 90}}
    await running.rewrite(config)
    expected = Tuning(low_battery_percent=30.0, full_battery_percent=90.0, quiet_hours_start="23:00")
    assert running.services.settings.tuning.value == expected
    auto = running.services.governor.modes.value.auto
    assert (auto.low_battery_percent, auto.full_battery_percent) == (30.0, 90.0)
    await running.daemon.stop()
    again = await start(config)
    assert again.services.settings.tuning.value == expected
    assert again.services.governor.modes.value.auto.low_battery_percent == 30.0
    again.services.settings.reset()
    assert again.services.settings.tuning.value == Tuning(low_battery_percent=60.0, full_battery_percent=90.0)


async def test_quiet_hours_that_the_configuration_switches_off_keep_their_times(start: Start) -> None:
    quiet = {"enabled": False, "start": "21:00", "end": "06:00"}
    off = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "efficiency": {"quiet_hours": quiet}}
    running = await start(off)
    expected = Tuning(quiet_hours_enabled=False, quiet_hours_start="21:00", quiet_hours_end="06:00")
    assert running.services.settings.tuning.value == expected


async def test_the_watts_of_a_device_are_learned_while_its_backend_works(start: Start) -> None:
    demo = await start({"sensors": {"enabled": False}, "dbus": {"enabled": False}})
    igpu = next(view.spec for view in demo.services.fleet.views.value if view.spec.id == "igpu")
    backend = {"id": "gpu", "endpoint": igpu.endpoint, "type": igpu.api.value, "hardware": "igpu"}
    running = await start(
        {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "backends": [backend]}, demo=Demo.NEVER
    )
    services = running.services

    async def show(power_w: float) -> None:
        reading = Reading(power_w, time.monotonic())
        services.system.set(SystemState(devices=(DeviceState("0000:00:02.0", Hardware.IGPU, "", power_w=reading),)))
        await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        answering = asyncio.create_task(running.chat("gpu"))
        await running.until(services.fleet.views, lambda views: views[0].in_flight)
        for power_w in (9.0, 30.0, 31.0):
            await show(power_w)
        await answering
    watts = services.fleet.view("gpu").watts
    assert watts is not None
    assert 30.0 <= watts.power_w <= 31.0


async def test_the_daemon_tells_the_bus_where_clients_find_it(start: Start) -> None:
    running = await start({"sensors": {"enabled": False}})
    service = running.daemon._machine._service
    assert service is not None
    assert service._endpoints[0] == running.daemon.url
    assert not running.daemon.url.endswith(":0")
