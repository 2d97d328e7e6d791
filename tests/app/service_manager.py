"""The daemon as a process of its own, started as systemd starts it: with sockets, a notify socket and a watchdog."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.real_things import ROOT

ENTER = """
import os, sys
high = [os.dup2(int(fd), 100 + number) for number, fd in enumerate(sys.argv[1].split())]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "ollama_proxyd", *sys.argv[2:]])
"""
"""Becomes the daemon, with the sockets from 3 on, and LISTEN_PID naming the process itself: sd_listen_fds(3)."""
PATIENCE_S = 60.0


class NotifySocket:
    """Hears what a service says of itself."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self.heard: list[dict[str, str]] = []

    def until(self, *names: str, **wanted: str) -> dict[str, str]:
        """The next message that assigns these names and has these words in these values."""
        until_s = time.monotonic() + PATIENCE_S
        while (left_s := until_s - time.monotonic()) > 0:
            said = self._next(left_s)
            if all(name in said for name in names) and all(words in said.get(key, "") for key, words in wanted.items()):
                return said
        raise AssertionError(f"never told {names} {wanted}; told were {self.heard}")

    def is_silent(self, for_s: float) -> bool:
        return not select.select([self._socket], [], [], for_s)[0]

    def _next(self, within_s: float) -> dict[str, str]:
        self._socket.settimeout(within_s)
        try:
            lines = self._socket.recv(65536).decode().splitlines()
        except TimeoutError:
            return {}
        said = dict(line.split("=", 1) for line in lines)
        self.heard.append(said)
        return said

    def close(self) -> None:
        self._socket.close()


class Service:
    """One run of the daemon."""

    def __init__(
        self, folder: Path, config: dict[str, Any], sockets: Sequence[socket.socket] = (), **environ: str
    ) -> None:
        self.notify = NotifySocket(folder)
        self.file = folder / "config.yaml"
        self.file.write_text(json.dumps(config))
        self._log = (folder / "log").open("a+")
        bare = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
        nowhere = "unix:path=/nonexistent/bus"
        around = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "NOTIFY_SOCKET": str(self.notify.path),
            "DBUS_SESSION_BUS_ADDRESS": nowhere,
            "DBUS_SYSTEM_BUS_ADDRESS": nowhere,
        }
        fds = [each.fileno() for each in sockets]
        given = {"LISTEN_FDS": str(len(sockets))} if sockets else {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENTER, " ".join(map(str, fds)), "--demo", "--config", str(self.file)],
            cwd=ROOT,
            env={**bare, **around, **given, **environ},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=fds,
        )

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.notify.close()
        self.notify.path.unlink(missing_ok=True)
        self._log.close()


def listening(folder: Path | None = None, name: str = "proxy.sock") -> socket.socket:
    """A socket as a socket unit would hold it: TCP, or a Unix socket in a folder."""
    made = socket.socket(socket.AF_UNIX if folder else socket.AF_INET)
    made.bind(str(folder / name) if folder else ("127.0.0.1", 0))
    made.listen(64)
    return made


def ask(address: Any, request: str = "GET /healthz", body: str = "", within_s: float = PATIENCE_S) -> str:
    """One request on a connection of its own; returns all that comes."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(within_s)
        client.connect(address)
        head = f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).decode()
