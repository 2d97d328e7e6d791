"""The daemon on a machine whose drivers misbehave."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import StartDaemon, config_of, wait_until
from tests.upstreams.sysfs_tree import laptop

pytestmark = pytest.mark.real


def test_a_sensor_whose_read_never_returns_does_not_keep_the_daemon_from_ending(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    laptop(tmp_path / "sys")
    stuck = next((tmp_path / "sys/class/hwmon").glob("*/temp1_input"))
    stuck.unlink()
    os.mkfifo(stuck)
    config = config_of(detection={"enabled": False}, sensors={"sysfs_root": str(tmp_path / "sys")})
    daemon = start_daemon(config)
    wait_until(lambda: daemon.status_of("/healthz") == 200, "the daemon answers")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
