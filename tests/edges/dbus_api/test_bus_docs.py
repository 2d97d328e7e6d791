"""Every command of docs/dbus.md works as it is written there."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.dbus_api import errors
from ollama_proxyd.edges.dbus_api.contract import ROOT_NAME, contract
from ollama_proxyd.edges.dbus_api.service import NAMES
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import DEADLINE_S, Desk, Program
from tests.edges.dbus_api.test_bus_contract import INTERFACES
from tests.real_things import NOT_TRIED

PAGE = (Path(__file__).parents[3] / "docs" / "dbus.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ERRORS = [value.rpartition(".")[2] for value in vars(errors).values() if str(value).startswith(f"{ROOT_NAME}.Error.")]
INTERFACE_FILES = Path(__file__).parents[3] / "dbus" / "interfaces"
SILENT = ("set-property", "SetMode", "RefreshBackendStatus", "ChangeSettings", "ResetSettings", "SetFeature")
RUNNING = [command for command in COMMANDS if " monitor " not in command]


async def shell(command: str, bus: PrivateBus) -> asyncio.subprocess.Process:
    tool = command.split(maxsplit=1)[0]
    if shutil.which(tool) is None:
        pytest.skip(f"{NOT_TRIED}{tool} is not installed")
    return await asyncio.create_subprocess_shell(
        f"exec {command}",
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus.address, "LC_ALL": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(command: str, bus: PrivateBus) -> str:
    process = await shell(command, bus)
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def keep_changing_the_mode(program: Program) -> None:
    while True:
        for mode in ("Quiet", "Balanced"):
            await program.call("Efficiency", "SetMode", "s", mode)
            await asyncio.sleep(0.02)


def test_the_page_shows_both_tools() -> None:
    assert len(COMMANDS) > 15
    assert {command.split(maxsplit=1)[0] for command in COMMANDS} == {"busctl", "gdbus"}


@pytest.mark.parametrize("command", RUNNING)
async def test_a_command_of_the_page_works(program: Program, private_bus: PrivateBus, command: str) -> None:
    said = await run(command, private_bus)
    assert said or any(f" {word}" in command for word in SILENT)


async def test_the_commands_do_what_they_say(program: Program, desk: Desk, private_bus: PrivateBus) -> None:
    for command in RUNNING:
        await run(command, private_bus)
        if "SetMode s Quiet" in command:
            assert desk.services.governor.setting.value.chosen is Mode.QUIET
        if "CurrentMode s Auto" in command:
            assert desk.services.governor.setting.value.chosen is Mode.AUTO
    assert desk.services.governor.setting.value.chosen is Mode.ULTRA_EFFICIENCY


async def test_a_monitor_shows_changes_as_they_come(program: Program, private_bus: PrivateBus) -> None:
    (command,) = [command for command in COMMANDS if " monitor " in command]
    process = await shell(command, private_bus)
    assert process.stdout is not None
    changing = asyncio.create_task(keep_changing_the_mode(program))  # the monitor misses what comes while it starts
    try:
        async with asyncio.timeout(DEADLINE_S):
            await process.stdout.readuntil(b"ie.fio.OllamaProxy.Efficiency.ModeChanged ('Balanced', 'Quiet')")
    finally:
        changing.cancel()
        process.kill()
        await process.wait()


async def test_the_program_of_the_page_chooses_a_mode_and_prints_each_change(
    program: Program, desk: Desk, private_bus: PrivateBus
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    env = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": private_bus.address}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=env, stdout=pipe)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"Quiet as chosen\n"
            desk.services.governor.select(Mode.BALANCED)
            assert await process.stdout.readline() == b"Balanced as chosen\n"
    finally:
        process.kill()
        await process.wait()


async def test_the_shortcut_of_the_page_chooses_a_mode(desk: Desk, program: Program, private_bus: PrivateBus) -> None:
    (command,) = re.findall(r"^dbus-send .*$", PAGE, re.MULTILINE)
    await run(command, private_bus)
    async with asyncio.timeout(DEADLINE_S):
        async for setting in desk.services.governor.setting.changes():
            if setting.chosen is Mode.QUIET:
                return


def test_the_page_names_every_interface_every_signal_and_every_error() -> None:
    for name in NAMES:
        assert f"`{name}`" in PAGE
    for short_name in INTERFACES:
        for signal in contract(short_name).signals:
            assert signal in PAGE, signal
    for error in ERRORS:
        assert f"`{error}`" in PAGE, error


def test_the_contract_names_every_error() -> None:
    written = "".join(file.read_text(encoding="utf-8") for file in INTERFACE_FILES.iterdir())
    for error in ERRORS:
        assert re.search(rf"(?:{re.escape(ROOT_NAME)}\.Error| or )\.{error}\b", written), error
