"""Runs engines as child processes, each in a session of its own, with what they write in a file that stays small."""

import asyncio
import logging
import os
import re
import secrets
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ollama_proxyd.core.engine_instances import Launch
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.plumbing.port_owner import pid_at

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
END_S: Final = 5.0
"""How long a process may take to end before it is killed."""
MOST_LOG_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 16384
_STAMP: Final = re.compile(r"^[0-9.:]+ [A-Z] ")
"""How llama-server begins its lines."""
_TROUBLE: Final = re.compile(r"error|fail|cannot|unable", re.IGNORECASE)


class Child:
    """A process of ours."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path) -> None:
        self._process = process
        self._log = file

    @property
    def pid(self) -> int:
        """Its number, which is also that of its session."""
        return self._process.pid

    async def ended(self) -> str:
        """Wait for its end."""
        return how_it_ended(await self._process.wait())

    async def stop(self) -> None:
        """Ask it to end, then kill what is left of its session."""
        waiting = asyncio.ensure_future(self._process.wait())
        if not waiting.done():
            _signal(self.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await asyncio.shield(waiting)
        _signal(self.pid, signal.SIGKILL)
        await waiting

    async def holds(self, port: int) -> bool:
        """Whether one of its session listens there."""
        pid = await asyncio.to_thread(pid_at, port)
        return pid is not None and processes.is_member(pid, self.pid)

    async def memory_bytes(self) -> int | None:
        """By the kernel's count."""
        shorten(self._log)
        return await asyncio.to_thread(processes.memory_of, self.pid)

    async def last_words(self) -> str:
        """The last line that says what went wrong, else the last one."""
        return last_words(tail(self._log))


class ChildRunner:
    """Starts child processes; `folder` has what they write."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def free_port(self) -> int:
        """One that the kernel chooses."""
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
            return port

    def is_free(self, port: int) -> bool:
        """Whether it can be bound."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
        return True

    def new_key(self) -> str:
        """A key of 256 bits."""
        return secrets.token_hex(32)

    def main_memory(self) -> tuple[int, int]:
        """In all, and available."""
        return processes.main_memory()

    def log_of(self, name: str) -> Path:
        """The file with what a process of that name wrote."""
        return self._folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:200]}.log"

    async def start(self, launch: Launch) -> Child:
        """Start one in a session of its own; its key is in its environment, which only its user can read."""
        file = self.log_of(launch.name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shorten(file)
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        added = dict(each.split("=", 1) for each in launch.environment)
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                env={**self._environ, **added},
                start_new_session=True,
            )
        except OSError as error:
            raise OSError(error.errno, f"{launch.words[0]} cannot be started: {error.strerror}") from None
        finally:
            os.close(handle)
        return Child(process, file)


def how_it_ended(status: int) -> str:
    """The end of a process in words."""
    if status >= 0:
        return f"its process ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"its process was ended by {name}"


def shorten(file: Path) -> None:
    """Begin a file anew that has become long; who writes to it appends, and goes on at its beginning."""
    with suppress(OSError):
        if file.stat().st_size > MOST_LOG_BYTES:
            os.truncate(file, 0)


def tail(file: Path) -> list[str]:
    """The last lines of a file, bounded."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(os.fstat(opened.fileno()).st_size - _TAIL_BYTES, 0))
            return opened.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def last_words(lines: list[str]) -> str:
    """The last line that says what went wrong, else the last one."""
    said = [clean for line in lines[-60:] if (clean := _STAMP.sub("", sanitize_line(line)))]
    return next((line for line in said if _TROUBLE.search(line)), said[-1] if said else "")


def _signal(session: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)
