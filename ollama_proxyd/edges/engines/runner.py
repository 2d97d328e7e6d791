"""Runs engines: gives each its port and its key, starts it, and finds it again after a crash."""

import asyncio
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ollama_proxyd.core.engine_instances import KeptEngine, Launch
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.engines.child import Child, start_child, taken_over
from ollama_proxyd.edges.engines.records import Records
from ollama_proxyd.services.ports import EngineProcess

LOOPBACK: Final = "127.0.0.1"


class Runner:
    """Starts processes; `folder` has what they write, and the notes of what runs."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._records = Records(folder)

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
        """Start a process, which carries the mark by which it is found again."""
        self._records.begin()
        marked = replace(launch, environment=(*launch.environment, self._records.mark(launch.api_key)))
        return await start_child(marked, self.log_of(launch.name), self._environ)

    def keep(self, engines: Sequence[tuple[KeptEngine, EngineProcess]]) -> None:
        """Note what runs."""
        self._records.write([(kept, process.pid) for kept, process in engines])

    def close(self) -> None:
        """Leave no notes where nothing runs."""
        self._records.end()

    async def found(self) -> Sequence[tuple[KeptEngine, EngineProcess]]:
        """What runs since an earlier start; what nobody noted is stopped."""
        found = await asyncio.to_thread(self._records.found)
        for pid in found.strays:
            await self._taken(pid, "stray").stop()
        return [(kept, self._taken(pid, f"{kept.backend_id}-{kept.model}")) for kept, pid in found.kept]

    def _taken(self, pid: int, name: str) -> EngineProcess:
        return taken_over(pid, self.log_of(name))
