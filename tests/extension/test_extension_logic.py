"""The extension's pure modules under Node's own test runner."""

import subprocess
from pathlib import Path

from tests.real_things import installed

HERE = Path(__file__).parent


def test_the_logic_of_the_extension_keeps_its_rules() -> None:
    installed("install-extension-checks")
    tests = sorted(HERE.rglob("*.test.mjs"))
    assert tests
    done = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
