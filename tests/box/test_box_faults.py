"""What laptops and programs do to a service: it comes back, keeps what was chosen, and says what is wrong."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.box import installation
from tests.box.box import USER_ID, Box
from tests.box.installation import MODEL
from tests.box.service import PORT, SOCKET, STATE, UNIT, Service
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until

pytestmark = pytest.mark.real

CHAT = {"model": MODEL, "messages": tiny_model.HELLO}
BAD_CONFIG = "server:\n  http_port: many\n"


def choose(service: Service, mode: str) -> None:
    assert service.ask("POST", "/efficiency", {"mode": mode}).status == 200


def until_kept(state: Path, mode: str) -> None:
    """The daemon writes beside its answers, and keeps only the latest where it is asked often."""

    def is_kept() -> bool:
        return state.exists() and json.loads(state.read_bytes())["state"].get("mode") == mode

    wait_until(is_kept, f"{mode} is kept over restarts")


def until_said(service: Service, words: str) -> None:
    wait_until(lambda: words in service.said(), f"the log says {words!r}")


def mode(service: Service) -> str:
    answer: str = service.ask("GET", "/efficiency").json()["mode"]
    return answer


def kill(box: Box, pid: int, number: signal.Signals) -> None:
    box.root("kill", f"-{number.value}", str(pid))


def test_a_killed_daemon_is_back_with_the_mode_that_was_chosen(service: Service, box: Box) -> None:
    service.start()
    choose(service, "Quiet")
    until_kept(box.path(f"{STATE}/state.json"), "Quiet")
    pid = service.pid()
    kill(box, pid, signal.SIGKILL)
    service.until_replaced(pid)
    assert mode(service) == "Quiet"
    assert service.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_daemon_that_is_killed_after_it_wrote_leaves_a_whole_state(service: Service, box: Box) -> None:
    service.start()
    for chosen in ("Quiet", "Balanced", "Efficiency"):
        pid = service.pid()
        choose(service, chosen)
        until_kept(box.path(f"{STATE}/state.json"), chosen)
        kill(box, pid, signal.SIGKILL)
        service.until_replaced(pid)
        assert json.loads(box.path(f"{STATE}/state.json").read_bytes())["format"] == 1
        assert mode(service) == chosen


def test_a_daemon_that_hangs_is_killed_and_replaced(service: Service, box: Box) -> None:
    service.drop_in("[Service]\nWatchdogSec=2\n")
    service.start()
    pid = service.pid()
    kill(box, pid, signal.SIGSTOP)
    service.until_replaced(pid)
    assert "Watchdog timeout" in service.said()
    assert service.ask("GET", "/readyz").status == 200


def test_a_daemon_that_works_is_left_alone_by_the_watchdog(service: Service) -> None:
    service.drop_in("[Service]\nWatchdogSec=1\n")
    service.start()
    pid = service.pid()
    told = service.show("WatchdogTimestampMonotonic")
    wait_until(lambda: service.show("WatchdogTimestampMonotonic") != told, "the watchdog is fed")
    again = service.show("WatchdogTimestampMonotonic")
    wait_until(lambda: service.show("WatchdogTimestampMonotonic") != again, "the watchdog is fed again")
    assert (service.pid(), service.show("NRestarts")) == (pid, "0")


def test_a_reload_puts_a_good_configuration_in_force(service: Service) -> None:
    service.start()
    service.configure(installation.config() | {"backends": [installation.engine("only", "npu", 3, 10, port=8082)]})
    service.systemctl("reload", UNIT)
    assert [backend["id"] for backend in service.ask("GET", "/backends").json()] == ["only"]


def test_a_reload_of_a_bad_file_changes_nothing_and_says_so(service: Service) -> None:
    service.start()
    pid = service.pid()
    service.configure(BAD_CONFIG)
    service.systemctl("reload", UNIT, check=False)
    assert service.show("ActiveState") == "active"
    assert service.pid() == pid
    assert "config.yaml:2" in service.said()
    assert "configuration" in service.show("StatusText")
    assert service.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_service_with_a_bad_file_fails_once_and_names_the_line(service: Service) -> None:
    service.configure(BAD_CONFIG)
    service.systemctl("start", UNIT, check=False)
    service.until("ActiveState", "failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "config.yaml:2" in service.said()
    assert "config.yaml:2" in service.systemctl("status", "--no-pager", UNIT, check=False).stdout


@pytest.fixture
def other_program(box: Box) -> Iterator[None]:
    """Another program of this person's, which has the port."""
    program = ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(PORT)]
    box.user("systemd-run", "--user", "--unit=other-program", "--quiet", "--collect", *program)
    wait_until(lambda: _has_listener(box), "another program has the port")
    yield
    box.user("systemctl", "--user", "stop", "other-program")


def test_a_port_that_another_program_has_is_named_where_a_person_looks(service: Service, other_program: None) -> None:
    service.systemctl("start", UNIT, check=False)
    service.until("ActiveState", "failed")
    status = service.systemctl("status", "--no-pager", UNIT, check=False).stdout
    assert f"port {PORT} is taken by another program" in status
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("69", "0")


def test_a_port_that_the_socket_unit_cannot_have_is_named_too(service: Service, other_program: None) -> None:
    assert service.systemctl("start", SOCKET, check=False).returncode
    status = service.systemctl("status", "--no-pager", SOCKET, check=False).stdout
    assert f"127.0.0.1:{PORT}" in status
    assert "Address already in use" in status


def _has_listener(box: Box) -> bool:
    tables = box.path("/proc/1/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1].endswith(f":{PORT:04X}") and line.split()[3] == "0A" for line in tables)


def test_when_the_session_bus_restarts_the_daemon_is_on_it_again_and_keeps_serving(service: Service) -> None:
    service.start()
    pid = service.pid()
    service.systemctl("restart", "dbus.service")
    assert service.ask("GET", "/readyz").status == 200
    names = ["--acquired", "--no-legend", "list"]
    wait_until(lambda: "ie.fio.OllamaProxy" in service.busctl(*names, check=False).stdout, "it is on the new bus", 15)
    assert service.pid() == pid


@contextmanager
def state_on(box: Box, options: str) -> Iterator[Path]:
    """The folder of the state on a disk of its own, with such mount options."""
    box.user("mkdir", "-p", STATE)
    box.root("mount", "-t", "tmpfs", "-o", f"{options},mode=0700,uid={USER_ID},gid={USER_ID}", "none", STATE)
    try:
        yield box.path(STATE)
    finally:
        box.user("systemctl", "--user", "stop", UNIT)
        box.root("umount", STATE)


def test_a_state_folder_that_cannot_be_written_costs_only_the_memory(service: Service, box: Box) -> None:
    with state_on(box, "ro"):
        service.start()
        choose(service, "Quiet")
        assert mode(service) == "Quiet"
        until_said(service, "Read-only file system")
        assert STATE in service.said()
        assert service.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_full_disk_costs_only_the_memory_of_what_is_chosen_then(service: Service, box: Box) -> None:
    with state_on(box, "size=64k") as folder:
        service.start()
        choose(service, "Quiet")
        until_kept(folder / "state.json", "Quiet")
        before = (folder / "state.json").read_bytes()
        box.user("dd", "if=/dev/zero", f"of={STATE}/filler", "bs=4k", check=False)
        choose(service, "Balanced")
        assert mode(service) == "Balanced"
        until_said(service, "No space left on device")
        files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("history.db"))
        assert (files, (folder / "state.json").read_bytes()) == (["filler", "state.json"], before)
