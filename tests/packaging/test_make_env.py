"""The environment that scripts/make-env makes."""

import os
import subprocess
import tomllib
from pathlib import Path

from tests.real_things import ROOT

PYTHON = """#!/bin/sh
# Stands in for Python: an environment of it is two programs that do nothing.
case "$*" in
    *"-m venv"*) mkdir -p "$4/bin" "$4/site" && cp "$0" "$4/bin/python" && cp "$0" "$4/bin/pip" ;;
    *purelib*) echo "$(dirname "$0")/../site" ;;
esac
"""


def test_every_command_of_the_package_is_there(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    lock = tmp_path / "lock"
    lock.write_text("")
    environ = {**os.environ, "PYTHON": str(python)}
    subprocess.run([ROOT / "scripts" / "make-env", tmp_path / "env", lock], env=environ, check=True)
    commands = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    made = {each.name: each for each in (tmp_path / "env" / "bin").iterdir()}
    for name, target in commands.items():
        module, _, function = target.partition(":")
        assert f"from {module} import {function}\n\n{function}()\n" in made[name].read_text(), name
        assert os.access(made[name], os.X_OK)
