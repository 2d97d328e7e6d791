"""A command starts quickly, because it loads little."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import ServedDaemon
from tests.real_things import ROOT

HEAVY = ("aiohttp", "asyncio", "dbus_fast", "msgspec", "rich", "yaml", "ollama_proxyd.core", "ollama_proxyd.services")
SCRIPT = """
import json, sys
from ollama_proxyd.cli.control import control
try:
    control({arguments!r}, prog_name="ollama-proxyctl")
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def run(*arguments: str) -> list[str]:
    """What a command has loaded when it ends."""
    command = [sys.executable, "-c", SCRIPT.format(arguments=arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(done.stderr)
    return modules


@pytest.mark.parametrize("arguments", [["status"], ["mode"], ["explain", "--model", "tiny"], ["--help"]])
def test_nothing_heavy_is_loaded(daemon: ServedDaemon, arguments: list[str]) -> None:
    loaded = run(*arguments)
    assert [name for name in HEAVY if name in loaded] == []
