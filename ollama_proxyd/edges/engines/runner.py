"""Runs engines: gives each its address and its key, starts it, and finds it again after a crash."""

import asyncio
import logging
import re
import secrets
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from ollama_proxyd.core.engine_instances import LOOPBACK, Address, KeptEngine, Launch
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.engines.child import MOST_LOG_BYTES, Child, start_child, tail, taken_over
from ollama_proxyd.edges.engines.following import lines_of
from ollama_proxyd.edges.engines.records import VARIABLE, Noted, Records
from ollama_proxyd.edges.engines.sockets import Sockets
from ollama_proxyd.edges.engines.transient import TransientUnits, follow_words
from ollama_proxyd.edges.plumbing.dbus import BusError
from ollama_proxyd.services.ports import EngineProcess

log = logging.getLogger(__name__)

OURS: Final = frozenset(
    {
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "SYSTEMD_EXEC_PID", "RUNTIME_DIRECTORY"),
        *("MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
    }
)
"""What systemd says to the daemon alone (systemd.exec(5))."""
AS_UNITS: Final = Reason("engines_as_units")


class Runner:
    """Starts processes; `folder` has what they write, and the notes of what runs."""

    def __init__(self, folder: Path, environ: Mapping[str, str], units: TransientUnits) -> None:
        self._folder = folder
        self._environ = {name: value for name, value in environ.items() if name not in OURS}
        self._units = units
        self._records = Records(folder)
        self._sockets = Sockets(environ)
        self.way: Reason | None = None
        """How the last one was started, and why so; None while none was."""
        self.why_no_socket = ""
        """Of the last address that was to be one."""

    def new_address(self, *, wants_socket: bool) -> Address:
        """A socket in a folder that only this user can enter, else a port that the kernel chooses."""
        if wants_socket:
            try:
                return Address(socket=self._sockets.new())
            except OSError as error:
                self.why_no_socket = str(error)
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            return Address(probe.getsockname()[1])

    def was_usable(self, address: Address) -> bool:
        """Whether the file of its socket is there, or its port can be bound."""
        if address.socket:
            return Path(address.socket).exists()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, address.port))
            except OSError:
                return False
        return True

    def clear(self, address: Address) -> None:
        """Remove the file of its socket, which no program does by itself."""
        if address.socket:
            with suppress(OSError):
                Path(address.socket).unlink()

    def new_key(self) -> str:
        """A key of 256 bits."""
        return secrets.token_hex(32)

    def main_memory(self) -> tuple[int, int]:
        """In all, and available."""
        return processes.main_memory()

    def log_of(self, name: str) -> Path:
        """The file with what a process of that name wrote."""
        return self._folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:200]}.log"

    async def log(self, name: str, lines: int) -> list[str]:
        """Printable ones, of the journal for units, else of the file's end."""
        found = await self._in_journal(name, lines) or await asyncio.to_thread(tail, self.log_of(name), MOST_LOG_BYTES)
        return [printable(line) for line in found[-lines:]]

    async def follow(self, name: str, lines: int) -> AsyncGenerator[str, None]:
        """From the same place, by the programs that a person would use."""
        words: tuple[str, ...] = ("tail", "--follow=name", "--retry", f"--lines={lines}", "--", str(self.log_of(name)))
        if await self._in_journal(name, 1):
            words = follow_words(name, lines)
        async with aclosing(lines_of(*words)) as written:
            async for line in written:
                yield printable(line)

    async def _in_journal(self, name: str, lines: int) -> list[str]:
        """What the journal has; nothing where engines are no units, or it may not be read."""
        return await self._units.log(name, lines) if self.way == AS_UNITS else []

    async def start(self, launch: Launch) -> Child:
        """Start a process, which carries the mark by which it is found again."""
        self._records.begin()
        marked = replace(launch, environment=(*launch.environment, self._records.mark(launch.api_key)))
        try:
            process: Child = await self._units.start(marked, self._environ)
        except BusError as error:
            self._go(Reason("engines_as_children", detail=str(error)))
            return await start_child(marked, self.log_of(launch.name), self._environ)
        self._go(AS_UNITS)
        return process

    def _go(self, way: Reason) -> None:
        if way != self.way:
            log.info("%s", way)
        self.way = way

    def keep(self, engines: Sequence[tuple[KeptEngine, EngineProcess]]) -> None:
        """Note what runs."""
        self._records.write([_noted(kept, process) for kept, process in engines])

    def close(self) -> None:
        """Leave no notes where nothing runs."""
        self._records.end()

    async def found(self) -> Sequence[tuple[KeptEngine, EngineProcess]]:
        """What runs since an earlier start; what nobody noted is stopped."""
        found = await asyncio.to_thread(self._records.found)
        self._sockets.sweep()
        for pid in found.strays:
            await taken_over(pid, self.log_of("stray")).stop()
        if found.marks:
            known = {each.unit for each in found.noted if each.unit is not None}
            marks = tuple(f"{VARIABLE}={mark}" for mark in found.marks)
            with suppress(OSError):  # without a manager there are no units
                await self._units.stop_strays(marks, known)
        return [(each.kept, await self._taken(each)) for each in found.noted]

    async def _taken(self, noted: Noted) -> Child:
        if noted.unit is not None:
            self._go(AS_UNITS)
            try:
                return await self._units.taken_over(noted.unit, noted.process.pid)
            except OSError as error:
                log.warning("%s is not asked of by its unit: %s", noted.kept.model, error)
        return taken_over(noted.process.pid, self.log_of(f"{noted.kept.backend_id}-{noted.kept.model}"))


def _noted(kept: KeptEngine, process: EngineProcess) -> Noted:
    return Noted(kept, processes.identity(process.pid), process.unit)
