"""The command as a process of its own, where signals and connections matter."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.real_things import ROOT

HANGS_S = 60.0
"""A busy machine takes long to start a program; one that is silent for so long hangs."""
CODE = "import sys; from ollama_proxyd.cli.control import control; control(prog_name='ollama-proxyctl')"


class Program:
    """One running ollama-proxyctl."""

    def __init__(self, *arguments: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", CODE, *arguments], cwd=ROOT, text=True, **pipes)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return str(self.process.stdout.readline()).rstrip("\n")

    def finish(self) -> tuple[int, str, str]:
        """Its exit status and what it printed."""
        out, error = self.process.communicate(timeout=HANGS_S)
        return self.process.returncode, out, error

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Program]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what happens in another process."""
    until_s = time.monotonic() + HANGS_S
    while not true():
        assert time.monotonic() < until_s, "it never happened"
        time.sleep(0.002)
