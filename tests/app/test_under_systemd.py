"""The daemon as systemd starts it: what it tells, whose sockets it uses, how it reloads and ends."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.edges.host.control_socket import PATH as CONTROL
from ollama_proxyd.edges.plumbing.dbus import BUS, connect
from tests.app.service_manager import PATIENCE_S, Service, ask, listening
from tests.desktop.private_bus import PrivateBus

QUIET: dict[str, Any] = {"sensors": {"enabled": False}, "dbus": {"enabled": False}, "sleep": {"enabled": False}}
FREE = {**QUIET, "server": {"http_port": 0}}
Run = Callable[..., Service]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    services: list[Service] = []
    held: list[socket.socket] = []

    def start(config: dict[str, Any] = FREE, *sockets: socket.socket, **environ: str) -> Service:
        held.extend(sockets)
        services.append(Service(tmp_path, config, sockets, **environ))
        return services[-1]

    yield start
    for each in (*services, *held):
        each.close()


def chat(address: Any) -> str:
    return ask(address, "POST /api/generate", json.dumps({"model": "demo", "prompt": "hi", "stream": False}))


def test_ready_is_told_once_it_serves_with_a_line_that_a_person_understands(run: Run) -> None:
    held = listening()
    ready = run(FREE, held).notify.until("READY")
    host, port = held.getsockname()
    assert ready["STATUS"] == f"Balanced: serving on {host}:{port}, 4 of 4 backends up"
    assert "200 OK" in ask(held.getsockname())


def test_the_line_changes_with_the_mode_and_only_then(run: Run) -> None:
    held = listening()
    service = run(FREE, held)
    service.notify.until("READY")
    assert "200 OK" in ask(held.getsockname(), "POST /efficiency", '{"mode": "Quiet"}')
    assert service.notify.until("STATUS")["STATUS"].startswith("Quiet: serving on ")
    ask(held.getsockname())
    assert service.notify.is_silent(0.3)


def test_without_a_bus_it_is_ready_all_the_same_and_says_so(run: Run) -> None:
    ready = run({**FREE, "dbus": {"enabled": True}}).notify.until("READY")
    assert "; D-Bus: the bus" in ready["STATUS"] or "; D-Bus: the session bus cannot be reached" in ready["STATUS"]


async def test_with_a_bus_it_is_ready_when_it_has_its_names(run: Run, private_bus: PrivateBus) -> None:
    service = run({**FREE, "dbus": {"enabled": True}}, DBUS_SESSION_BUS_ADDRESS=private_bus.address)
    ready = service.notify.until("READY")
    bus = await connect(private_bus.address)
    assert await bus.owner_of("ie.fio.OllamaProxy.SystemState") is not None
    assert "D-Bus" not in ready["STATUS"]
    await bus.close()


async def test_a_name_that_another_program_has_is_in_the_line(run: Run, private_bus: PrivateBus) -> None:
    other = await connect(private_bus.address)
    await other.call(BUS, "RequestName", "su", ["ie.fio.OllamaProxy", 0])
    service = run({**FREE, "dbus": {"enabled": True}}, DBUS_SESSION_BUS_ADDRESS=private_bus.address)
    assert "belongs to another program" in service.notify.until("READY")["STATUS"]
    await other.close()
    assert "D-Bus" not in service.notify.until("STATUS")["STATUS"]


def test_a_request_that_came_before_the_daemon_is_answered(run: Run) -> None:
    held = listening()
    with socket.create_connection(held.getsockname()) as early:
        early.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        run(FREE, held)
        early.settimeout(PATIENCE_S)
        assert b"\r\n\r\nready\n" in b"".join(iter(lambda: early.recv(4096), b""))


def test_both_kinds_of_given_sockets_are_served_and_no_own_one_is_opened(run: Run, tmp_path: Path) -> None:
    tcp, file = listening(), listening(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:  # its own port is taken, which matters to nobody
        service = run({**QUIET, "server": {"http_port": other.getsockname()[1]}}, tcp, file)
        service.notify.until("READY")
        assert "200 OK" in ask(tcp.getsockname())
        assert "200 OK" in ask(file.getsockname())
    assert service.stop() == 0
    assert Path(file.getsockname()).exists()


def test_sockets_of_another_process_are_left_alone(run: Run) -> None:
    held = listening()
    service = run(FREE, held, LISTEN_FDS="0")
    service.notify.until("READY")
    assert str(held.getsockname()[1]) not in service.notify.heard[-1]["STATUS"]


def test_a_socket_file_of_its_own_is_for_the_owner_and_goes_with_it(run: Run, tmp_path: Path) -> None:
    service = run({**QUIET, "server": {"http_port": 0, "unix_socket": "p.sock"}})
    service.notify.until("READY")
    path = tmp_path / "p.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "200 OK" in ask(str(path))
    assert service.stop() == 0
    assert not path.exists()


def test_the_control_socket_is_for_its_owner_and_goes_with_the_daemon(run: Run, tmp_path: Path) -> None:
    service = run()
    service.notify.until("READY")
    path = tmp_path / CONTROL
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "200 OK" in ask(str(path))
    assert service.stop() == 0
    assert not path.exists()


def test_the_control_socket_of_a_daemon_that_runs_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / CONTROL).parent.mkdir()
    with listening(tmp_path, CONTROL) as held:
        service = run()
        service.notify.until("READY")
        assert "another program listens there; reach this daemon with ollama-proxyctl --url" in service.log()
        assert service.stop() == 0
        assert Path(held.getsockname()).exists()


def test_without_a_runtime_folder_there_is_no_control_socket_and_the_log_says_so(run: Run) -> None:
    service = run(XDG_RUNTIME_DIR="")
    service.notify.until("READY")
    assert "no control socket, because XDG_RUNTIME_DIR is not set" in service.log()


def test_a_given_socket_stands_in_for_the_control_socket(run: Run, tmp_path: Path) -> None:
    (tmp_path / CONTROL).parent.mkdir()
    held = listening(tmp_path, CONTROL)
    service = run(FREE, held)
    service.notify.until("READY")
    assert "another program listens there" not in service.log()
    assert "200 OK" in ask(held.getsockname())
    assert service.stop() == 0
    assert Path(held.getsockname()).exists()


def test_the_watchdog_is_fed_by_a_daemon_that_serves_and_by_no_other(run: Run) -> None:
    service = run(FREE, listening(), WATCHDOG_USEC="2000000")
    service.notify.until("WATCHDOG")
    service.notify.until("WATCHDOG")
    service.process.send_signal(signal.SIGSTOP)
    while not service.notify.is_silent(0.2):
        service.notify.until()
    assert service.notify.is_silent(1.5)
    service.process.send_signal(signal.SIGCONT)
    service.notify.until("WATCHDOG")


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(run: Run) -> None:
    service = run(FREE, WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    service.notify.until("READY")
    assert service.notify.is_silent(0.5)


def test_a_reload_is_told_with_its_time_and_ends_ready(run: Run) -> None:
    service = run(FREE)
    service.notify.until("READY")
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    service.file.write_text(json.dumps({**FREE, "routing": {"retries": 3}}))
    service.process.send_signal(signal.SIGHUP)
    assert int(service.notify.until("RELOADING")["MONOTONIC_USEC"]) >= before_us
    assert "4 of 4 backends up" in service.notify.until("READY")["STATUS"]


def test_a_bad_file_changes_nothing_and_the_line_says_what_is_wrong_until_it_is_good(run: Run) -> None:
    held = listening()
    service = run(FREE, held)
    service.notify.until("READY")
    service.file.write_text("server: {http_prot: 1}\n")
    service.process.send_signal(signal.SIGHUP)
    status = service.notify.until("READY")["STATUS"]
    assert "the configuration is wrong and was not reloaded: " in status
    assert "http_prot" in status
    assert "200 OK" in ask(held.getsockname())
    service.file.write_text(json.dumps(FREE))
    service.process.send_signal(signal.SIGHUP)
    service.notify.until("RELOADING")
    assert "wrong" not in service.notify.until("READY")["STATUS"]


def test_a_clean_stop_lets_a_stream_finish_and_asks_for_the_time(run: Run) -> None:
    held = listening()
    service = run({**QUIET, "server": {"http_port": 0, "drain_s": 30}}, held)
    service.notify.until("READY")
    answers: list[str] = []
    body = json.dumps({"model": "demo", "prompt": "tell me a story", "options": {"num_predict": 40}})
    client = threading.Thread(target=lambda: answers.append(ask(held.getsockname(), "POST /api/generate", body)))
    client.start()
    until_s = time.monotonic() + PATIENCE_S
    while '"in_flight":1' not in ask(held.getsockname(), "GET /backends"):
        assert time.monotonic() < until_s, answers
        time.sleep(0.02)
    service.process.send_signal(signal.SIGTERM)
    stopping = service.notify.until("STOPPING")
    assert stopping["STATUS"] == "stopping; requests under way: 1, which get up to 30 s to finish"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 30_000_000
    assert service.process.wait(PATIENCE_S) == 0
    client.join()
    assert '"done":true' in answers[0]


def test_it_ends_when_nobody_uses_it_and_the_next_start_serves_what_waits(run: Run) -> None:
    held = listening()
    config = {**QUIET, "server": {"http_port": 0, "idle_exit_s": 1}}
    service = run(config, held, WATCHDOG_USEC="400000")
    service.notify.until("READY")
    assert "200 OK" in chat(held.getsockname())
    assert service.process.wait(PATIENCE_S) == 0
    assert "unused for 1 s" in service.log()
    service.close()
    with socket.create_connection(held.getsockname()) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        run(config, held)
        client.settimeout(PATIENCE_S)
        assert b"200 OK" in b"".join(iter(lambda: client.recv(4096), b""))


def test_an_open_connection_keeps_it_from_ending(run: Run) -> None:
    held = listening()
    service = run({**QUIET, "server": {"http_port": 0, "idle_exit_s": 1}}, held)
    service.notify.until("READY")
    with socket.create_connection(held.getsockname()), pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(2.5)
    assert service.process.wait(PATIENCE_S) == 0


def test_no_request_is_lost_while_it_ends_again_and_again(run: Run, tmp_path: Path) -> None:
    """One client that asks at all moments, and a service manager that starts the daemon when the socket has news."""
    held = listening()
    config = {**QUIET, "server": {"http_port": 0, "idle_exit_s": 1}}
    service, starts = run(config, held), 1
    answers: list[str] = []
    with ThreadPoolExecutor(1) as client:
        while len(answers) < 6 or starts == 1:
            answer = client.submit(ask, held.getsockname(), within_s=PATIENCE_S)
            while not answer.done():
                if service.process.poll() is not None:
                    assert service.process.returncode == 0
                    service.close()
                    service, starts = run(config, held), starts + 1
                time.sleep(0.01)
            time.sleep(0.9 + 0.15 * len(answers))
            answers.append(answer.result())
    assert all("200 OK" in answer for answer in answers)


def test_idle_exit_without_a_socket_unit_is_ignored_and_said(run: Run) -> None:
    service = run({**QUIET, "server": {"http_port": 0, "idle_exit_s": 1}})
    service.notify.until("READY")
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(2.0)
    assert "server.idle_exit_s is ignored" in service.log()


def test_a_taken_port_ends_it_with_one_line_that_names_the_program(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        service = run({**QUIET, "server": {"http_port": port}})
        assert service.process.wait(PATIENCE_S) == 69
    (line,) = service.log().splitlines()
    assert line.startswith(f"ollama-proxyd: port {port} is taken by another program (")
    assert f"pid {os.getpid()})" in line
    assert service.notify.until("STATUS")["STATUS"] == line
    assert not any("READY" in said for said in service.notify.heard)


def test_a_wrong_configuration_has_a_status_of_its_own(run: Run) -> None:
    service = run({"server": {"http_prot": 1}})
    assert service.process.wait(PATIENCE_S) == 78
    assert "http_prot" in service.notify.until("STATUS")["STATUS"]


def test_a_socket_that_does_not_listen_is_the_fault_of_the_unit(run: Run) -> None:
    with socket.socket() as idle:
        service = run(FREE, idle)
        assert service.process.wait(PATIENCE_S) == 78
    assert "Accept=no" in service.log()


def test_log_lines_carry_their_weight_where_standard_error_is_the_journal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    there = (tmp_path / "log").stat()
    service = run(FREE, JOURNAL_STREAM=f"{there.st_dev}:{there.st_ino}")
    service.notify.until("READY")
    assert service.stop() == 0
    assert all(line.startswith(("<6>", "<4>")) for line in service.log().splitlines())
    assert "<6>ollama-proxyd" in service.log()


def test_with_a_folder_that_cannot_be_written_the_mode_is_kept_in_memory_and_said_once(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    held = listening()
    service = run(FREE, held, XDG_STATE_HOME=str(tmp_path / "state"))
    service.notify.until("READY")
    for mode in ("Quiet", "Performance"):
        assert f'"mode":"{mode}"' in ask(held.getsockname(), "POST /efficiency", json.dumps({"mode": mode}))
    assert service.log().count("cannot be written") == 1
