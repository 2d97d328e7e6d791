"""What the service manager is told."""

import os
import socket
import uuid
from pathlib import Path

import pytest

from ollama_proxyd.edges.host.notify import Notifier


def listening(address: str) -> socket.socket:
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.settimeout(30)
    ear.bind(address)
    return ear


def test_what_is_said_arrives_in_one_message_with_a_line_for_each(tmp_path: Path) -> None:
    with listening(str(tmp_path / "n")) as ear:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")}).tell(READY=1, STATUS="a\nb")
        assert ear.recv(1000) == b"READY=1\nSTATUS=a b"


def test_a_socket_without_a_file_is_reached_as_well() -> None:
    name = f"ollama-proxyd-{uuid.uuid4()}"
    with listening("\0" + name) as ear:
        Notifier({"NOTIFY_SOCKET": "@" + name}).tell(WATCHDOG=1)
        assert ear.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("written", ["", "relative/path"])
def test_without_a_manager_nothing_is_told_and_nothing_fails(written: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": written, "WATCHDOG_USEC": "1000000"})
    notifier.tell(READY=1)
    assert (notifier.is_heard, notifier.watchdog_s) == (False, None)


def test_a_manager_that_is_gone_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.tell(STATUS="a")
    notifier.tell(STATUS="b")
    assert caplog.text.count("cannot be told") == 1


@pytest.mark.parametrize(
    ("environ", "period_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_counts_only_for_the_process_that_it_is_meant_for(
    environ: dict[str, str], period_s: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/n", **environ}).watchdog_s == period_s
