"""The port and the Unix socket that systemd holds: the first connection starts the daemon, and none is lost."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.box import installation
from tests.box.box import RUNTIME, Box
from tests.box.installation import MODEL
from tests.box.service import SOCKET, UNIT, Connection, Service
from tests.e2e import tiny_model

pytestmark = pytest.mark.real

CHAT = json.dumps({"model": MODEL, "messages": tiny_model.HELLO})
SOCKET_FILE = f"{RUNTIME}/ollama-proxyd/ollama-proxyd.sock"
COMMAND = f"{installation.BIN}/ollama-proxyctl"
CLIENTS = 12
TYPE = {"Content-Type": "application/json"}


class UnixConnection(http.client.HTTPConnection):
    """HTTP to the Unix socket of the box."""

    def __init__(self, box: Box) -> None:
        super().__init__("localhost", timeout=30)
        self._path = box.path(SOCKET_FILE)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def answer_on(connection: http.client.HTTPConnection) -> str:
    """What the model says to a request on an open connection."""
    try:
        connection.request("POST", "/v1/chat/completions", CHAT, TYPE)
        response = connection.getresponse()
        body = json.loads(response.read())
    finally:
        connection.close()
    assert response.status == 200, body
    content: str = body["choices"][0]["message"]["content"]
    return content


@pytest.fixture
def listening(service: Service) -> Service:
    """The service that is not started, and its socket that is."""
    service.systemctl("start", SOCKET)
    assert service.show("ActiveState") == "inactive"
    return service


def test_the_first_connection_starts_the_daemon_and_is_answered(listening: Service, box: Box) -> None:
    assert answer_on(Connection(box)) == tiny_model.REPLY
    assert listening.show("ActiveState") == "active"


def test_the_unix_socket_starts_it_as_well(listening: Service, box: Box) -> None:
    assert answer_on(UnixConnection(box)) == tiny_model.REPLY
    assert listening.show("ActiveState") == "active"


def test_of_many_first_connections_none_is_lost(listening: Service, box: Box) -> None:
    connections = [Connection(box) for _ in range(CLIENTS)]
    for connection in connections:
        connection.connect()  # one after the other: a thread must not wander between network name spaces
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(answer_on, connections))
    assert answers == [tiny_model.REPLY] * CLIENTS


def test_a_request_during_a_restart_waits_and_is_answered(listening: Service, box: Box) -> None:
    assert answer_on(Connection(box)) == tiny_model.REPLY
    listening.systemctl("restart", "--no-block", UNIT)
    answers = [answer_on(Connection(box)) for _ in range(CLIENTS)]
    assert answers == [tiny_model.REPLY] * CLIENTS
    listening.until("ActiveState", "active")


def test_only_the_person_may_use_the_unix_socket(listening: Service, box: Box) -> None:
    mode, folder = (box.path(path).stat().st_mode & 0o777 for path in (SOCKET_FILE, str(RUNTIME + "/ollama-proxyd")))
    assert (mode, folder) == (0o600, 0o700)


def test_without_the_socket_unit_the_daemon_opens_the_control_socket_itself(service: Service, box: Box) -> None:
    service.start()
    assert service.show("ActiveState", SOCKET) == "inactive"
    assert box.path(SOCKET_FILE).stat().st_mode & 0o777 == 0o600
    assert "thrifty" in box.user(COMMAND, "--url", f"unix:{SOCKET_FILE}", "backends").stdout


def test_the_control_socket_of_a_daemon_that_was_killed_is_taken_over(service: Service, box: Box) -> None:
    service.start()
    pid = service.pid()
    box.root("kill", "-KILL", str(pid))
    service.until_replaced(pid)
    assert answer_on(UnixConnection(box)) == tiny_model.REPLY


def test_the_socket_outlives_the_daemon(listening: Service, box: Box) -> None:
    assert answer_on(UnixConnection(box)) == tiny_model.REPLY
    listening.systemctl("stop", UNIT)
    assert answer_on(UnixConnection(box)) == tiny_model.REPLY


def test_a_daemon_that_is_idle_leaves_and_comes_back_with_the_next_connection(listening: Service, box: Box) -> None:
    listening.configure(installation.config(server={"idle_exit_s": 1}))
    assert answer_on(Connection(box)) == tiny_model.REPLY
    listening.until("ActiveState", "inactive")
    assert (listening.show("Result"), listening.show("NRestarts")) == ("success", "0")
    assert answer_on(Connection(box)) == tiny_model.REPLY
