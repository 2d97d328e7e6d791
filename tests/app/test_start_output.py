"""What the daemon says at its start may get lost; its work does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.harness import _own_env, ask, wait_until
from tests.free_ports import free_port


@pytest.fixture(params=["no room", "no reader"])
def lost(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where no output arrives."""
    if request.param == "no room":
        written = os.open("/dev/full", os.O_WRONLY)
    else:
        read, written = os.pipe()
        os.close(read)
    yield written
    os.close(written)


def test_a_daemon_whose_greeting_cannot_be_written_answers_all_the_same(lost: int, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"server": {"http_port": port}, "detection": {"enabled": False}}))

    def answers() -> bool:
        try:
            return ask(f"http://127.0.0.1:{port}", "GET", "/healthz").status == 200
        except OSError:
            return False

    command = [sys.executable, "-m", "ollama_proxyd", "--config", str(file)]
    with subprocess.Popen(command, stdout=lost, stderr=subprocess.PIPE, env=_own_env(tmp_path)) as daemon:
        try:
            wait_until(lambda: answers() or daemon.poll() is not None, "the daemon answers")
        finally:
            daemon.terminate()
            _, said = daemon.communicate(timeout=30)
    assert (daemon.returncode, b"Traceback" in said) == (0, False), said.decode()
