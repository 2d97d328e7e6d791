"""The extension's pure modules under Node's own test runner."""

import os
import subprocess
from pathlib import Path

from tests.real_things import ROOT, installed

HERE = Path(__file__).parent
EXTENSION = ROOT / "gnome-extension"
MOST_LINES = 2000
"""Of the shell's part and the preferences together; the Shell's own bluetooth.js has 465."""


def test_the_logic_of_the_extension_keeps_its_rules() -> None:
    installed("install-extension-checks")
    tests = sorted(HERE.rglob("*.test.mjs"))
    assert tests
    environment = {**os.environ, "LC_ALL": "en_US.UTF-8"}
    command = ["node", "--import", str(HERE / "english.mjs"), "--test", *map(str, tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shell_and_the_preferences_together_stay_small() -> None:
    modules = {*EXTENSION.rglob("*.js")} - {*EXTENSION.glob("node_modules/**/*.js"), EXTENSION / "eslint.config.js"}
    lines = {path.name: len(path.read_text().splitlines()) for path in modules}
    assert sum(lines.values()) <= MOST_LINES, lines
