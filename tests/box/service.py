"""The installed service as a person at the laptop meets it: systemctl, the journal, the bus, and the port."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from tests.box.box import HOME, Box, Done
from tests.e2e.harness import Reply, wait_until

UNIT = "ollama-proxyd.service"
SOCKET = "ollama-proxyd.socket"
PORT = 8080
UNITS = f"{HOME}/.config/systemd/user"
CONFIG = f"{HOME}/.config/ollama-proxyd/config.yaml"
STATE = f"{HOME}/.local/state/ollama-proxyd"
BUS_NAME = "ie.fio.OllamaProxy"
PATIENCE_S = 60.0
"""Longer than anything here takes on a busy machine; what is waited for comes in a fraction of it."""


class Connection(http.client.HTTPConnection):
    """HTTP to a port inside the box."""

    def __init__(self, box: Box, port: int = PORT) -> None:
        super().__init__("127.0.0.1", port, timeout=30)
        self._box = box

    def connect(self) -> None:
        self.sock = self._box.connect(self.port)


class Service:
    """What one test does with the service, and what it hears of it."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self._cursor = ""

    # the manager

    def systemctl(self, *arguments: str, check: bool = True) -> Done:
        return self.box.user("systemctl", "--user", *arguments, check=check)

    def show(self, name: str, unit: str = UNIT) -> str:
        """One of the unit's properties."""
        return self.systemctl("show", "--property", name, "--value", unit).stdout.strip()

    def start(self) -> None:
        self.systemctl("start", UNIT)

    def pid(self) -> int:
        """The daemon's process inside the box; 0 while there is none."""
        return int(self.show("MainPID"))

    def until(self, name: str, value: str, unit: str = UNIT) -> None:
        """Wait until a property of the unit has a value."""

        def seen() -> str:
            return self.show(name, unit)

        wait_until(lambda: seen() == value, f"{unit} has {name}={value}", PATIENCE_S, every_s=0.1)

    def until_replaced(self, pid: int) -> int:
        """Wait until another process is the daemon and serves; returns its number."""

        def successor() -> int:
            now = self.pid()
            return now if now not in {0, pid} and self.show("ActiveState") == "active" else 0

        return wait_until(successor, "the daemon was replaced", PATIENCE_S, every_s=0.1)

    def drop_in(self, text: str, unit: str = UNIT) -> None:
        """Change the unit, for this test."""
        self.box.write(f"{UNITS}/{unit}.d/test.conf", text)
        self.systemctl("daemon-reload")

    # the files

    def configure(self, config: Mapping[str, Any] | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        self.box.write(CONFIG, text)

    # the journal

    def mark(self) -> None:
        """Have `journal` begin here."""
        done = self.box.root("journalctl", "-n", "0", "--show-cursor", "-q")
        self._cursor = done.stdout.rpartition("cursor: ")[2].strip()

    def journal(self, *units: str) -> list[dict[str, Any]]:
        """What these units said since the mark: all fields of every line."""
        fields = ("_SYSTEMD_USER_UNIT", "USER_UNIT")  # the unit's own words, and the manager's about it
        which = [word for unit in units or (UNIT,) for field in fields for word in (f"{field}={unit}", "+")][:-1]
        after = [f"--after-cursor={self._cursor}"] if self._cursor else []
        self.box.root("journalctl", "--sync")
        lines = self.box.root("journalctl", "-o", "json", "-q", *after, *which).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def said(self, *units: str) -> str:
        """The same as plain text."""
        return "\n".join(str(entry["MESSAGE"]) for entry in self.journal(*units))

    def until_said(self, words: str, *units: str) -> None:
        wait_until(lambda: words in self.said(*units), f"the journal says {words!r}", PATIENCE_S, every_s=0.1)

    # the bus

    def busctl(self, *arguments: str, check: bool = True) -> Done:
        return self.box.user("busctl", "--user", *arguments, check=check)

    def bus_property(self, part: str, name: str) -> str:
        """A property as busctl writes it, without its type."""
        where = (BUS_NAME, f"/ie/fio/OllamaProxy/{part}", f"{BUS_NAME}.{part}")
        return self.busctl("get-property", *where, name).stdout.strip().partition(" ")[2]

    # the port

    @contextmanager
    def opened(
        self, method: str, path: str, body: dict[str, Any] | None = None, port: int = PORT
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is still to be read."""
        connection = Connection(self.box, port)
        try:
            sent = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, port: int = PORT) -> Reply:
        """One request and its whole answer."""
        with self.opened(method, path, body, port) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def until_ready(self) -> None:
        """Wait until it can serve, when it was not the manager who waited."""

        def status() -> bool:
            try:
                return self.ask("GET", "/readyz").status == 200
            except OSError:
                return False

        wait_until(status, "the daemon can serve", PATIENCE_S)
