"""The daemon and the machine around it, wired as in life, on a tree that stands for /sys and without any bus."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.daemon import Daemon, Options
from ollama_proxyd.app.machine import is_in_use
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.load import Overrides
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, Reading, SystemState
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from tests.fakes import FakeBackend, services_of
from tests.upstreams.sysfs_tree import SysfsTree

NO_BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


class Running:
    """A daemon that serves the demo fleet, the file that it was configured with, and a client."""

    def __init__(self, daemon: Daemon, file: Path, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self._file = file
        self._client = client

    async def get(self, path: str) -> Any:
        async with self._client.get(self.daemon.url + path) as reply:
            return await reply.json()

    @property
    def services(self) -> Services:
        return self.daemon.services.value

    async def until(self, cell: Cell[Any], says: Callable[[Any], bool]) -> None:
        """Wait until a cell holds what is waited for."""
        async with asyncio.timeout(10):
            async for value in cell.changes():
                if says(value):
                    return

    async def rewrite(self, config: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(config))
        await self.daemon.reload()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """The daemon puts its own handlers and levels in the place of the test's."""
    root, ours = logging.getLogger(), logging.getLogger("ollama_proxyd")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_logging: None) -> AsyncIterator[Start]:
    for name, address in NO_BUS.items():
        monkeypatch.setenv(name, address)
    daemons: list[Daemon] = []
    client = aiohttp.ClientSession()

    async def run(config: dict[str, Any], demo: Demo = Demo.ALWAYS) -> Running:
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(config))
        environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
        options = Options(environ, file, Overrides(http_port=0), demo)
        daemon = Daemon(options, options.load())
        daemons.append(daemon)
        await daemon.start()
        return Running(daemon, file, client)

    yield run
    for daemon in daemons:
        await daemon.stop()
    await client.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener()
    logging.getLogger("ollama_proxyd").addHandler(listener)
    yield said
    logging.getLogger("ollama_proxyd").removeHandler(listener)


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
    assert body["hottest_c"] == {"status": "available", "value": 45.0}
    assert (await running.get("/efficiency"))["effective_mode"] == "Balanced"
    sysfs.write(f"{processor}/temp1_input", 80_000)
    await running.until(running.services.governor.setting, lambda setting: setting.effective is not Mode.BALANCED)
    body = await running.get("/efficiency")
    assert (body["effective_mode"], body["reason"]) == ("Efficiency", "the hottest device is at 80 °C, above 75 °C")


async def test_a_reload_puts_new_numbers_of_auto_in_force(start: Start, tmp_path: Path) -> None:
    SysfsTree(tmp_path / "sys").coretemp(60)
    sensors = {"sysfs_root": str(tmp_path / "sys")}
    quiet = {"default_mode": "Auto", "quiet_hours": {"enabled": False}}
    running = await start({"sensors": sensors, "efficiency": quiet})
    await running.until(running.services.system, lambda system: system.devices)
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
    assert body["hottest_c"] == device["temperature_c"] == {"status": "available", "value": 58.0}


async def test_without_any_bus_the_daemon_runs_and_says_so_once(start: Start, tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "sys").mkdir()
    running = await start({"sensors": {"sysfs_root": str(tmp_path / "sys")}})
    await running.until(running.services.system, lambda system: "system bus" in str(system.on_battery))
    assert (await running.get("/thermal"))["status"] == "unavailable"
    assert (await running.get("/health"))["status"] == "ok"
    await asyncio.sleep(0.05)
    for said in ("nothing is known of battery", "no D-Bus service"):
        assert sum(said in line for line in lines) == 1


async def test_sensors_and_bus_can_be_switched_off(start: Start, lines: list[str]) -> None:
    running = await start({"sensors": {"enabled": False}, "dbus": {"enabled": False}})
    await asyncio.sleep(0.05)
    assert (await running.get("/thermal"))["on_battery"] == {"status": "unavailable", "reason": "no sensor yet"}
    assert not any("bus" in line for line in lines)


async def test_the_simulated_devices_of_the_demo_are_no_devices_of_this_machine(start: Start, tmp_path: Path) -> None:
    SysfsTree(tmp_path / "sys").coretemp(45)
    running = await start({"sensors": {"sysfs_root": str(tmp_path / "sys")}})
    await running.until(running.services.system, lambda system: system.devices)
    assert (await running.get("/thermal"))["devices"][0]["backends"] == []


async def test_a_backend_that_was_switched_off_stays_so_over_a_reload(start: Start) -> None:
    running = await start({"sensors": {"enabled": False}, "dbus": {"enabled": False}})
    running.daemon.services.value.fleet.set_enabled("npu", enabled=False)
    await running.rewrite({"sensors": {"enabled": False}, "dbus": {"enabled": False}, "routing": {"retries": 0}})
    healths = {each["id"]: each["health"] for each in (await running.get("/health"))["backends"]}
    assert healths == {"npu": "disabled", "igpu": "up", "nvidia": "up", "cpu": "up"}


async def test_a_device_is_in_use_while_requests_run_on_it() -> None:
    services = await services_of(FakeBackend("npu"), FakeBackend("nvidia"))
    devices = (DeviceState("0000:00:0b.0", Hardware.NPU, ""), DeviceState("0000:01:00.0", Hardware.NVIDIA, ""))
    services.system.set(SystemState(on_battery=Reading(value=False, at_s=0.0), devices=devices))
    services.fleet.begin("nvidia")
    cell = Cell(services)
    assert [is_in_use(cell, device.id) for device in devices] == [False, True]
    services.fleet.end("nvidia")
    assert not is_in_use(cell, "0000:01:00.0")
