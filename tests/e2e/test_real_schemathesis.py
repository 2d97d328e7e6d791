"""schemathesis asks every route of the OpenAPI document what nobody expects; none answers with a 5xx."""

import http.client
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Daemon, StartDaemon, config_of
from tests.free_ports import free_port

pytestmark = pytest.mark.real
BUDGET_S = 25
LEFT_OUT = ("/status/events", "/v1/stream/ws", "/efficiency/hold", "/api/metrics", "/backends/{backend_id}")
"""Answers that stay open, and what switches the backends off, after which nothing can be answered."""


def asked(daemon: Daemon, folder: Path, *options: str) -> None:
    """Have it ask for a while; each answer is its client's own fault or good."""
    program = Path(sys.executable).with_name("schemathesis")
    ended = subprocess.run(
        [
            *(str(program), "run", f"{daemon.url}/openapi.json", "--checks", "not_a_server_error", "--no-color"),
            *("--phases", "fuzzing", "--max-time", str(BUDGET_S), "--max-examples", "20", "--request-timeout", "20"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * BUDGET_S,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert " generated, " in ended.stdout
    assert daemon.status_of("/healthz") == 200


def test_no_call_of_the_document_is_a_server_error(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(config_of(detection={"ports": [free_port()]}), options=["--demo-if-none"]).ready("demo")
    asked(daemon, tmp_path, *(word for path in LEFT_OUT for word in ("--exclude-path", path)))


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def test_no_call_of_the_admin_api_by_an_admin_is_a_server_error(start_daemon: StartDaemon, tmp_path: Path) -> None:
    own = tmp_path / "own.sock"
    config = config_of(detection={"ports": [free_port()]}, server={"unix_socket": str(own)})
    daemon = start_daemon(config, options=["--demo-if-none"]).ready("demo")
    owner = _Unix(own)
    owner.request("PUT", "/v1.0/tokens/fuzz", json.dumps({"Role": "admin"}), {"Content-Type": "application/json"})
    token = json.loads(owner.getresponse().read())["Token"]
    asked(daemon, tmp_path, "--include-path-regex", "^/v1[.]0/", "--header", f"Authorization: Bearer {token}")
    owner.request("GET", "/v1.0/audit")
    assert len(json.loads(owner.getresponse().read())) > 1, "it was let in"
    owner.close()
