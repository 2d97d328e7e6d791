"""Whoever calls any of the daemon's names first starts it, once."""

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from ollama_proxyd.edges.dbus_api.service import NAMES
from tests.desktop.private_bus import StartBus
from tests.edges.dbus_api.bus_desk import ROOT, ROOT_PATH, Program, Refused

REPOSITORY = Path(__file__).parents[3]
FILES = REPOSITORY / "dbus"
PROPERTIES = "org.freedesktop.DBus.Properties"


def test_every_name_has_an_activation_file_that_differs_from_the_others_only_in_the_name() -> None:
    template = (FILES / f"{ROOT}.service").read_text(encoding="utf-8")
    assert template.count(f"Name={ROOT}\n") == 1
    written = {file.stem: file.read_text(encoding="utf-8") for file in FILES.glob("*.service")}
    assert written == {name: template.replace(f"Name={ROOT}\n", f"Name={name}\n") for name in NAMES}


def program_folder(folder: Path) -> Path:
    """A folder with the program that the files name; it writes down each of its starts."""
    state = folder / "state"
    state.mkdir()
    config = folder / "config.yaml"
    server = {"http_port": 0}
    config.write_text(json.dumps({"server": server, "detection": {"enabled": False}, "sensors": {"enabled": False}}))
    program = folder / "bin" / "ollama-proxyd"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho $$ >>'{folder}/starts'\n"
        f"export XDG_STATE_HOME='{state}' XDG_CONFIG_HOME='{state}' PYTHONPATH='{REPOSITORY}'\n"
        f"exec '{sys.executable}' -P -m ollama_proxyd --config '{config}' 2>>'{folder}/log'\n"
    )
    program.chmod(0o755)
    return program.parent


@pytest.mark.parametrize("first", NAMES)
async def test_a_call_to_any_name_starts_one_daemon_that_has_them_all(
    first: str, bus_with: StartBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program_folder(tmp_path)}:/usr/bin:/bin")
    bus = bus_with({})
    bus.stop()
    shutil.copytree(FILES, bus.folder / "services", ignore=shutil.ignore_patterns("interfaces"), dirs_exist_ok=True)
    bus.start()  # it starts programs with its own environment, so the path above is theirs
    caller = await Program.start(bus.address)
    try:
        for name in (first, *NAMES):
            mode = await caller.ask(
                (name, f"{ROOT_PATH}/Efficiency", PROPERTIES), "Get", "ss", f"{ROOT}.Efficiency", "CurrentMode"
            )
            assert mode.value == "Balanced"
        assert (tmp_path / "starts").read_text().count("\n") == 1
    finally:
        await end_of(caller, bus.address)


def wait_for_the_end_of(pid: int) -> None:
    for _ in range(500):
        if not Path(f"/proc/{pid}/task").exists():
            return
        time.sleep(0.02)


async def end_of(caller: Program, address: str) -> None:
    """End the daemon that the bus has started, as a session does that ends, and leave the bus."""
    target = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    try:
        pid = await caller.ask(target, "GetConnectionUnixProcessID", "s", ROOT)
    except Refused:
        pid = None
    await caller.stop()
    if pid is not None:
        process = await asyncio.create_subprocess_exec("kill", str(pid))
        await process.wait()
        await asyncio.to_thread(wait_for_the_end_of, pid)
