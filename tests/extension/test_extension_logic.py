"""The extension's pure modules under Node's own test runner."""

import os
import subprocess
from pathlib import Path

from tests.real_things import installed

HERE = Path(__file__).parent


def test_the_logic_of_the_extension_keeps_its_rules() -> None:
    installed("install-extension-checks")
    tests = sorted(HERE.rglob("*.test.mjs"))
    assert tests
    environment = {**os.environ, "LC_ALL": "en_US.UTF-8"}
    command = ["node", "--import", str(HERE / "english.mjs"), "--test", *map(str, tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
