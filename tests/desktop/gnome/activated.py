"""The daemon as a desktop has it: a service of the session bus, which starts it, with the demo fleet behind it."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.desktop.gnome.bus import Bus
from tests.e2e.harness import ROOT, Reply, ask, config_of, opened, wait_until

NAME, OBJECTS = "ie.fio.OllamaProxy", "/ie/fio/OllamaProxy"
PROPERTIES = "org.freedesktop.DBus.Properties"
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus")
PATIENCE_S = 60.0
QUESTION = {"model": "demo", "prompt": "Why is the sky blue?", "options": {"num_predict": 200}, "stream": True}


class ActivatedDaemon:
    """The service and whoever has its name now; `connect` says on which bus.

    command: what the bus runs to start it.
    """

    def __init__(self, folder: Path, system_bus: str, sysfs: Path) -> None:
        self.log = folder / "daemon.log"
        config = config_of(
            efficiency={"default_mode": "Balanced", "auto": {"dwell_s": 0}, "quiet_hours": {"enabled": False}},
            sensors={"sysfs_root": str(sysfs), "idle_interval_s": 0.5, "busy_interval_s": 0.5},
        )
        self.url = f"http://127.0.0.1:{config['server']['http_port']}"
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for name in ("config", "state", "cache", "data", "run"):
            (folder / name).mkdir(mode=0o700)
        self._starter = folder / "start-daemon"
        self._start_text = _starter(folder, system_bus, self.log)
        self.mend_it()
        self.command = f"/bin/sh {self._starter}"
        self._bus: Bus | None = None

    def break_it(self) -> None:
        """From now on it cannot be started."""
        self._starter.write_text("exit 1\n")

    def mend_it(self) -> None:
        """From now on it can be started."""
        self._starter.write_text(self._start_text)

    def connect(self, bus: Bus) -> None:
        self._bus = bus

    @property
    def bus(self) -> Bus:
        assert self._bus is not None
        return self._bus

    def runs(self) -> bool:
        """Whether somebody has the daemon's name; asking starts nobody."""
        return self.bus.owner_of(NAME) is not None

    def start(self) -> None:
        """Have the bus start it, unless it runs, and wait until it can serve."""
        self.bus.ask(*BUS, f"{BUS[0]}.StartServiceByName", "su", NAME, 0)
        self.ready()

    def ready(self) -> None:
        """Wait until it can serve."""
        wait_until(self._answers, "the daemon is ready", PATIENCE_S)

    def _answers(self) -> bool:
        with suppress(OSError):
            return ask(self.url, "GET", "/readyz").status == 200
        return False

    def send(self, number: signal.Signals) -> int:
        """Send the signal to whoever has the daemon's name; returns its process id."""
        pid: int = self.bus.ask(*BUS, f"{BUS[0]}.GetConnectionUnixProcessID", "s", NAME)
        os.kill(pid, number)
        return pid

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal its end and wait for it; harmless where it does not run."""
        if not self.runs():
            return
        pid = self.send(number)
        wait_until(lambda: not _lives(pid), "the daemon has ended", PATIENCE_S)
        wait_until(lambda: not self.runs(), "the bus knows that it has ended", PATIENCE_S)

    def get(self, where: str, name: str) -> Any:
        """A property of the object of that name."""
        return self.bus.ask(NAME, f"{OBJECTS}/{where}", f"{PROPERTIES}.Get", "ss", f"{NAME}.{where}", name)

    def mode(self) -> str:
        """The chosen mode."""
        token: str = self.get("Efficiency", "CurrentMode")
        return token

    def call(self, where: str, method: str, signature: str = "", *body: Any) -> Any:
        """Call a method of the object of that name."""
        return self.bus.ask(NAME, f"{OBJECTS}/{where}", f"{NAME}.{where}.{method}", signature, *body)

    def choose(self, mode: str) -> None:
        """Choose a mode as a script would."""
        self.call("Efficiency", "SetMode", "s", mode)

    def route(self) -> str:
        """Where the next request goes: it is made, and left once the answer has begun."""
        with opened(self.url, "POST", "/api/generate", QUESTION) as response:
            assert response.status == 200, response.read()
            return response.headers["X-Backend-Used"]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A request that is being answered."""
        with opened(self.url, "POST", "/api/generate", QUESTION) as response:
            assert response.status == 200
            yield

    def until_battery(self, percent: int) -> None:
        """Wait until it knows that the battery is that full."""
        wait_until(lambda: self.get("SystemState", "BatteryPercent") == percent, f"the battery is at {percent} %")

    def ask_whole(self, words: int = 5) -> Reply:
        """A request and its whole answer."""
        return ask(self.url, "POST", "/api/generate", {**QUESTION, "options": {"num_predict": words}})


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _starter(folder: Path, system_bus: str, log: Path) -> str:
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "DBUS_SYSTEM_BUS_ADDRESS": system_bus,
        **{f"XDG_{name.upper()}_HOME": str(folder / name) for name in ("config", "state", "cache", "data")},
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }
    words = [sys.executable, "-m", "ollama_proxyd", "--demo", "--config", str(folder / "config.yaml")]
    assigned = shlex.join(f"{name}={value}" for name, value in settings.items())
    session = 'DBUS_SESSION_BUS_ADDRESS="$DBUS_SESSION_BUS_ADDRESS"'
    return f"exec env -i {session} {assigned} {shlex.join(words)} >>{shlex.quote(str(log))} 2>&1\n"
