"""Lines of log for a syslog daemon: one packet each, of this program, and no wait for who takes none."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxyd.app.logging import configure
from ollama_proxyd.edges.host.syslog import MOST_BYTES

log = logging.getLogger("ollama_proxyd.test")


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ollama_proxyd")
    before = root.handlers[:], root.level, ours.level
    yield
    configure("info", {})
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(60)
        yield listening


def test_a_record_is_one_line_of_its_weight_by_the_socket(daemon: socket.socket, tmp_path: Path) -> None:
    configure("info", {}, syslog=str(tmp_path / "log"))
    log.warning("one\ntwo %s", "\x1b[31m")
    said = daemon.recv(4096).decode()
    assert said.startswith("<12>ollama-proxyd[")
    assert said.endswith("]: one two  [31m")


def test_a_long_one_is_cut_to_what_every_daemon_takes(daemon: socket.socket, tmp_path: Path) -> None:
    configure("info", {}, syslog=str(tmp_path / "log"))
    for written in ("x", "ä", "🦊"):
        log.info(written * 5000)
        packet = daemon.recv(65536)
        assert MOST_BYTES < len(packet) <= 1024
        assert packet.decode().endswith(written)


def test_it_goes_by_udp_to_an_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(60)
        configure("info", {}, syslog=f"127.0.0.1:{listening.getsockname()[1]}")
        log.error("gone")
        assert listening.recv(4096).startswith(b"<11>ollama-proxyd[")


def test_a_daemon_that_takes_nothing_more_is_not_waited_for(daemon: socket.socket, tmp_path: Path) -> None:
    configure("info", {}, syslog=str(tmp_path / "log"))
    for number in range(2000):  # a socket keeps far fewer
        log.info("line %d", number)


def test_where_nobody_listens_that_is_said_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", {}, syslog=str(tmp_path / "nobody"))
    assert "monitoring.syslog: " in capsys.readouterr().err
    log.info("goes on")


def test_a_daemon_that_comes_later_or_again_gets_the_lines_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configure("info", {}, syslog=str(path))
    for line in ("first", "second"):
        log.info("to nobody")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(path))
            listening.settimeout(60)
            log.info(line)
            assert listening.recv(4096).endswith(line.encode())
        path.unlink()
