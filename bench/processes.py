"""Starts processes, each in a session of its own, and ends every one of them."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

READY_LIMIT_S = 120.0
STOP_LIMIT_S = 5.0


@dataclass(frozen=True)
class Command:
    """What to start."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """What each request to it must say besides."""
    grpc_port: int | None = None


class BenchError(Exception):
    """The suite cannot go on; the text says why."""


class ContestantError(BenchError):
    """One contestant could not be measured; the others can."""


@dataclass(frozen=True)
class Server:
    """A process that serves on a loopback port."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def session(self) -> int:
        """The session that holds the process and all that it started."""
        return self.process.pid


class Processes:
    """The owner of every process that the suite starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers[::-1]:
            self.stop(server)

    def start(self, name: str, command: Command, port: int) -> Server:
        """Starts a server; what it prints goes to a log."""
        log = self.folder / f"{name}.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.env},
                start_new_session=True,
                text=True,
            )
        server = Server(process, port, log)
        self._servers.append(server)
        return server

    def stop(self, server: Server) -> None:
        """Ends the whole session: first asks, then insists."""
        if server not in self._servers:
            return
        self._servers.remove(server)
        for name in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(server.process.pid, name)
            try:
                server.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                continue
            break
        _signal_group(server.process.pid, signal.SIGKILL)


def _signal_group(group: int, name: signal.Signals) -> None:
    try:
        os.killpg(group, name)
    except ProcessLookupError:
        return


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET on a loopback port; the status is 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def wait_until_ready(server: Server, path: str) -> None:
    """Returns as soon as a path answers 200."""
    deadline_s = time.monotonic() + READY_LIMIT_S
    while get(server.port, path)[0] != 200:
        if server.process.poll() is not None or time.monotonic() > deadline_s:
            tail = "\n".join(server.log.read_text().splitlines()[-15:])
            raise BenchError(f"{server.log.stem} did not become ready at {path}:\n{tail}")
        time.sleep(0.002)
