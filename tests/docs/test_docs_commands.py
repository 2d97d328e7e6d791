"""Every command of the documentation does what it is there for, against a real daemon with the demo fleet."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desktop.private_bus import PrivateBus
from tests.docs.page import DOCS, Block, blocks
from tests.e2e.harness import ROOT, Daemon
from tests.free_ports import free_port
from tests.real_things import NOT_TRIED, installed

RUN_ELSEWHERE = {"dbus.md"}
"""tests/edges/dbus_api/test_bus_docs.py runs this page on a bus."""
ENDLESS = ("/status/events",)
PROGRAMS = {
    "ollama-proxyd": "main:daemon",
    "ollama-proxyctl": "control:control",
    "ai-efficiency": "control:ai_efficiency",
}
USUAL = ("127.0.0.1:8080", "localhost:8080")
EVERY = [block for page in sorted(DOCS.glob("*.md")) if page.name not in RUN_ELSEWHERE for block in blocks(page)]
RUNS = [block for block in EVERY if not block.not_run]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the programs in it, under their names."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bin").mkdir()
    for name, target in PROGRAMS.items():
        module, function = target.split(":")
        script = f"#!{sys.executable}\nfrom ollama_proxyd.cli.{module} import {function}\n\n{function}()\n"
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    """A session bus of their own."""
    if shutil.which("dbus-daemon") is None:
        installed("install-desktop-tests")
    bus = PrivateBus()
    yield bus
    bus.close()


@pytest.fixture(scope="module")
def daemon(folder: Path, bus: PrivateBus) -> Iterator[Daemon]:
    """The demo fleet, as the pages have it."""
    config = {"server": {"http_port": free_port()}, "sensors": {"enabled": False}}
    daemon = Daemon(folder, config, {"DBUS_SESSION_BUS_ADDRESS": bus.address}, ["--demo"])
    try:
        yield daemon.ready()
    finally:
        daemon.stop()


def run(block: Block, daemon: Daemon, folder: Path, bus: PrivateBus) -> subprocess.CompletedProcess[str]:
    port = daemon.url.rpartition(":")[2]
    script = block.script
    for address in USUAL:
        script = script.replace(address, f"127.0.0.1:{port}")
    if any(path in script for path in ENDLESS):
        script = f"timeout 3 {script.strip()} || [ $? = 124 ]"
    environ = {
        "HOME": str(folder),
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OLLAMA_PROXY_HTTP_PORT": port,
        "XDG_CONFIG_DIRS": str(folder),
        "DBUS_SESSION_BUS_ADDRESS": bus.address,
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("block", RUNS, ids=str)
def test_a_block_of_commands_works_as_it_is_written(
    block: Block, daemon: Daemon, folder: Path, bus: PrivateBus
) -> None:
    if "curl" in block.script and shutil.which("curl") is None:
        pytest.skip(f"{NOT_TRIED}curl is not installed")
    done = run(block, daemon, folder, bus)
    assert done.returncode in block.statuses, done.stdout + done.stderr
    assert done.stdout
    assert '"error"' not in done.stdout or "evil.example" in block.script, done.stdout


def test_there_are_commands_on_every_page_that_has_them() -> None:
    assert {block.page for block in RUNS} >= {"http-api.md", "install.md", "ollama-proxyctl.md", "troubleshooting.md"}
    assert len(RUNS) >= 10


@pytest.mark.parametrize("block", [block for block in EVERY if block.not_run], ids=str)
def test_what_is_not_run_here_says_why_and_names_tests_that_exist(block: Block) -> None:
    named = [word.strip(";,.") for word in block.not_run.split() if word.startswith("tests/")]
    assert named, "a test that runs it has to be named"
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("block", EVERY, ids=str)
def test_every_script_that_a_page_names_is_there(block: Block) -> None:
    words = [line.split()[0] for line in block.script.splitlines() if line.strip()]
    assert [word for word in words if word.startswith("scripts/") and not os.access(ROOT / word, os.X_OK)] == []
