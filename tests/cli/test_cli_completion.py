"""Shell completion: the shipped files are those that the code makes, and shells take them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from ollama_proxyd.cli.control import control
from scripts.completion_files import files
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
    assert shipped == files(), "write them anew with: python -m scripts.completion_files completions"


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


def test_backends_are_completed_from_the_daemon(daemon: ServedDaemon) -> None:
    with click.Context(control).scope():
        assert completed("backends", "disable", "n") == ["npu", "nvidia"]


def test_without_a_daemon_completion_is_silent() -> None:
    assert completed("backends", "show", "") == []


def test_a_mode_s_words_are_whole_in_fish(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    program = tmp_path / "ollama-proxyctl"
    program.write_text("#!/bin/sh\nprintf 'plain,Auto\\tFollows the battery, the heat and the power profile\\n'\n")
    program.chmod(0o755)
    script = f"source {ROOT}/completions/ollama-proxyctl.fish; complete -C 'ollama-proxyctl mode set A'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Auto\tFollows the battery, the heat and the power profile\n"


@pytest.mark.parametrize("name", ["ollama-proxyctl.fish", "ai-efficiency.fish"])
def test_fish_takes_only_the_first_comma_as_an_end(name: str) -> None:
    assert 'string split --max 1 ","' in files()[name]
