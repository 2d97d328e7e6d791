"""Where the daemon is looked for, and what is said when it is not there."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ollama_proxyd.cli import client
from ollama_proxyd.cli.client import reach
from tests.cli.conftest import Ctl, ServedDaemon
from tests.cli.program import CODE
from tests.desktop.private_bus import StartBus
from tests.real_things import ROOT

UNAVAILABLE = 69


def test_without_a_daemon_it_says_so_and_how_to_start_it(ctl: Ctl) -> None:
    result = ctl("status")
    assert (result.exit_code, result.stdout) == (UNAVAILABLE, "")
    assert result.stderr == (
        "ollama-proxyctl: no daemon answers at http://127.0.0.1:1 (Connection refused); start it with: ollama-proxyd\n"
    )


def test_the_alias_complains_in_its_own_name(alias: Ctl) -> None:
    assert alias("get").stderr.startswith("ai-efficiency: no daemon answers")


def test_the_socket_of_a_dead_daemon_is_no_obstacle_to_tcp(
    over_tcp: ServedDaemon, control_socket: socket.socket, ctl: Ctl
) -> None:
    control_socket.shutdown(socket.SHUT_RDWR)
    assert ctl("mode").output == "Balanced: the default, as none was chosen\n"


def test_where_neither_answers_both_are_named(control_socket: socket.socket, ctl: Ctl) -> None:
    control_socket.shutdown(socket.SHUT_RDWR)
    said = ctl("mode").stderr
    assert f"no daemon answers at unix:{control_socket.getsockname()} (Connection refused), and" in said
    assert "no daemon answers at http://127.0.0.1:1 (Connection refused); start it" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "another program answers at {} (in words that are not HTTP's)"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"name":', "the answer of the daemon at {} broke off"),
    ],
)
def test_a_strange_answer_is_told_in_words_and_not_in_pythons(answer: bytes, says: str, ctl: Ctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:

        def once() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        done = threads.submit(once)
        result = ctl("--url", url, "mode")
        done.result(timeout=30)
    assert result.exit_code == UNAVAILABLE
    assert says.format(url) in result.stderr


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address at which somebody listens and nobody answers."""
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield f"http://127.0.0.1:{made.getsockname()[1]}"


def test_a_daemon_that_hangs_is_to_be_restarted_and_not_to_be_started(
    hanging: str, control_socket: socket.socket, ctl: Ctl
) -> None:
    for address, options in ((hanging, ["--url", hanging]), (f"unix:{control_socket.getsockname()}", ["--start"])):
        for command in (["mode"], ["watch"], ["energy"], ["mode", "hold", "Quiet", "--", "true"]):
            result = ctl(*options, *command)
            assert (result.exit_code, result.stdout) == (UNAVAILABLE, "")
            said = f"the daemon at {address} does not answer (waited 0.2 s); restart it with: systemctl"
            assert said in result.stderr


def test_the_doctor_says_that_a_daemon_hangs_or_that_another_program_has_its_port(
    hanging: str, monkeypatch: pytest.MonkeyPatch, control_socket: socket.socket, ctl: Ctl
) -> None:
    assert "error    daemon           it runs and does not answer\n" in ctl("doctor").output
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    stranger = ctl("--url", hanging, "doctor").output
    assert "error    daemon           it does not run\n" in stranger
    assert "another program (" in stranger


def test_output_that_finds_no_room_is_one_sentence_and_no_success(daemon: ServedDaemon) -> None:
    for arguments in (["status"], ["--json", "status"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-c", CODE, *arguments]
            ended = subprocess.run(
                command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30
            )
        assert ended.returncode == 1
        assert ended.stderr.endswith(": what it has to say cannot be written: No space left on device\n")
        assert ended.stderr.count("\n") == 1


def test_on_its_socket_a_daemon_asks_for_no_token(
    serve: Callable[..., ServedDaemon], control_socket: socket.socket, ctl: Ctl
) -> None:
    serve(token="a secret").listen(control_socket)
    assert ctl("mode").output == "Balanced: the default, as none was chosen\n"


def test_a_socket_may_be_named(daemon: ServedDaemon, control_socket: socket.socket, ctl: Ctl) -> None:
    assert (
        ctl("--url", f"unix:{control_socket.getsockname()}", "mode").output
        == "Balanced: the default, as none was chosen\n"
    )


def test_many_commands_at_once_are_all_answered(daemon: ServedDaemon) -> None:
    def mode(_: int) -> str:
        with reach(None) as asked:
            return str(asked.get("/efficiency")["mode"])

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(mode, range(40))) == ["Balanced"] * 40


def test_asking_never_starts_the_daemon_unless_told_to(
    bus_with: StartBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    started = tmp_path / "started"
    bus = bus_with({"ie.fio.OllamaProxy": f"/bin/sh -c 'touch {started}; exit 1'"})
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
    assert ctl("status").exit_code == UNAVAILABLE
    assert not started.exists()
    assert ctl("--start", "status").exit_code == UNAVAILABLE
    assert started.exists()


@pytest.mark.parametrize("address", ["", "unix:path=/nowhere/bus"])
def test_a_daemon_that_cannot_be_started_is_said_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, ctl: Ctl, address: str
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    result = ctl("--start", "status")
    assert result.exit_code == UNAVAILABLE
    assert "the session bus cannot start the daemon: " in result.stderr


@pytest.mark.parametrize("body", [b"Ollama is running", b'{"version": "0.33.0"}', b"[]", b"\xff"])
def test_another_program_on_the_port_is_not_taken_for_the_daemon(
    stranger: Callable[[bytes], str], ctl: Ctl, body: bytes
) -> None:
    url = stranger(body)
    result = ctl("--url", url, "status")
    assert result.exit_code == UNAVAILABLE
    assert f"another program answers at {url}" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://", "http://x:port"])
def test_an_address_that_is_none_is_refused_with_an_example(ctl: Ctl, url: str) -> None:
    result = ctl("--url", url, "status")
    assert result.exit_code == 2
    assert "is not an address such as http://127.0.0.1:8080" in result.stderr


def test_the_token_of_the_environment_is_sent(
    serve: Callable[..., ServedDaemon], monkeypatch: pytest.MonkeyPatch, ctl: Ctl
) -> None:
    url = serve(token="a secret").listen()
    refused = ctl("--url", url, "mode")
    assert refused.exit_code == 1
    assert "OLLAMA_PROXY_TOKEN" in refused.stderr
    monkeypatch.setenv("OLLAMA_PROXY_TOKEN", "a secret")
    assert ctl("--url", url, "mode").output == "Balanced: the default, as none was chosen\n"
