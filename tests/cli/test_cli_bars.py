"""The bars of docs/dbus.md show what `watch --json` prints, and its unit holds a mode."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ollama_proxyd.core.modes import Mode
from tests.cli.conftest import ServedDaemon
from tests.cli.program import CODE, wait_until
from tests.real_things import NOT_TRIED, ROOT

PAGE = (ROOT / "docs" / "dbus.md").read_text(encoding="utf-8")
WAYBAR = json.loads("{" + re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0] + "}")["custom/ollama-proxy"]
POLYBAR = re.findall(r"^exec = (.*)$", PAGE, re.MULTILINE)[0]
UNIT = re.findall(r"^ExecStart=(.*)$", PAGE, re.MULTILINE)[0]
CTL = shlex.join([sys.executable, "-c", CODE])


@contextmanager
def running(command: str) -> Iterator[subprocess.Popen[str]]:
    if shutil.which("jq") is None:
        pytest.skip(f"{NOT_TRIED}jq is not installed")
    shell = command.replace("ollama-proxyctl", CTL)
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", shell], cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=pipe) as process:
        yield process
        for each in subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
        ).stdout.split():
            subprocess.run(["kill", each], check=False)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_waybar_is_told_the_mode_in_force_with_its_reason(daemon: ServedDaemon) -> None:
    with running(WAYBAR["exec"]) as process:
        first = {"text": "Balanced", "tooltip": "the default, as none was chosen", "class": "Balanced"}
        assert json.loads(line(process)) == first
        daemon.do(lambda: daemon.services.governor.select(Mode.QUIET))
        assert json.loads(line(process)) == {"text": "Quiet", "tooltip": "as chosen", "class": "Quiet"}


def test_polybar_is_told_the_mode_in_force(daemon: ServedDaemon) -> None:
    with running(POLYBAR) as process:
        assert line(process) == "Balanced"
        daemon.do(lambda: daemon.services.governor.select(Mode.QUIET))
        assert line(process) == "Quiet"


def test_the_unit_holds_quiet_as_long_as_it_runs(daemon: ServedDaemon) -> None:
    with running(f"exec {UNIT.replace('%i', 'obs')}") as process:
        wait_until(lambda: bool(daemon.services.governor.holds.value))
        (held,) = daemon.services.governor.holds.value
        assert (held.mode, held.reason) == (Mode.QUIET, "obs runs")
        process.terminate()
        wait_until(lambda: not daemon.services.governor.holds.value)
