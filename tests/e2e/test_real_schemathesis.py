"""schemathesis asks every route of the OpenAPI document what nobody expects; none answers with a 5xx."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import StartDaemon, config_of, free_port

pytestmark = pytest.mark.real
BUDGET_S = 25
LEFT_OUT = ("/status/events", "/v1/stream/ws", "/efficiency/hold", "/api/metrics", "/backends/{backend_id}")
"""Answers that stay open, and what switches the backends off, after which nothing can be answered."""


def test_no_call_of_the_document_is_a_server_error(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(config_of(detection={"ports": [free_port()]}), options=["--demo-if-none"]).ready("demo")
    left_out = [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    program = Path(sys.executable).with_name("schemathesis")
    ended = subprocess.run(
        [
            *(str(program), "run", f"{daemon.url}/openapi.json", "--checks", "not_a_server_error", "--no-color"),
            *("--phases", "fuzzing", "--max-time", str(BUDGET_S), "--max-examples", "20", "--request-timeout", "20"),
            *left_out,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * BUDGET_S,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert " generated, " in ended.stdout
    assert daemon.status_of("/healthz") == 200
