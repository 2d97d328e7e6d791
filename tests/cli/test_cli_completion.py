"""Shell completion: the shipped files are those that the code makes, and shells take them."""

import shutil
import subprocess
from collections.abc import Mapping

import click
import pytest
from click.shell_completion import ShellComplete

from ollama_proxyd.cli.completion import files
from ollama_proxyd.cli.control import control
from tests.cli.conftest import ServedDaemon
from tests.real_things import ROOT

CHECKS: Mapping[str, list[str]] = {
    "ollama-proxyctl.bash": ["bash", "-n"],
    "_ollama-proxyctl": ["zsh", "-n"],
    "ollama-proxyctl.fish": ["fish", "--no-execute"],
}


def completed(*words: str) -> list[str]:
    shell = ShellComplete(control, {}, "ollama-proxyctl", "_X")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_the_shipped_files_are_fresh() -> None:
    shipped = {path.name: path.read_text() for path in (ROOT / "completions").iterdir()}
    assert shipped == files(), "write them anew with: python -m ollama_proxyd.cli.completion completions"


@pytest.mark.parametrize("name", CHECKS)
def test_the_shell_takes_the_file(name: str) -> None:
    command = CHECKS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, ROOT / "completions" / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_and_options_are_completed() -> None:
    assert completed("back") == ["backends"]
    assert completed("explain", "--max-") == ["--max-tokens", "--max-latency-ms", "--max-power-watts"]


def test_modes_are_completed_without_regard_to_case() -> None:
    assert completed("mode", "set", "q") == ["Quiet"]
    assert completed("explain", "--mode", "Ultra") == ["UltraEfficiency"]


def test_backends_are_completed_from_the_daemon(over_dbus: ServedDaemon) -> None:
    with click.Context(control).scope():
        assert completed("backends", "disable", "n") == ["npu", "nvidia"]


def test_without_a_daemon_completion_is_silent() -> None:
    assert completed("backends", "show", "") == []
