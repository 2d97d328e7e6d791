"""A daemon wired as in life, on a configuration file and without any bus, and a client of it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.daemon import Daemon
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.load import Overrides
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from tests.fakes import settle

NO_BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


class Running:
    """A daemon that serves the demo fleet, the file that it was configured with, and a client."""

    def __init__(self, daemon: Daemon, file: Path, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self._file = file
        self.client = client

    async def get(self, path: str) -> Any:
        async with self.client.get(self.daemon.url + path) as reply:
            return await reply.json()

    async def text(self, path: str) -> str:
        async with self.client.get(self.daemon.url + path) as reply:
            return await reply.text()

    async def chat(self, backend_id: str) -> None:
        """Ask a backend by name, and take the whole answer."""
        body = {
            "model": self.services.fleet.view(backend_id).models[0].name,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        headers = {"X-Target-Backend": backend_id}
        async with self.client.post(f"{self.daemon.url}/api/chat", json=body, headers=headers) as reply:
            assert reply.status == 200
            await reply.read()

    @property
    def services(self) -> Services:
        return self.daemon.services

    async def until(self, cell: Cell[Any], says: Callable[[Any], bool]) -> None:
        """Wait until a cell holds what is waited for."""
        async with asyncio.timeout(60):
            async for value in cell.changes():
                if says(value):
                    return

    def write(self, config: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(config))

    async def rewrite(self, config: dict[str, Any]) -> None:
        self.write(config)
        await self.daemon.reload()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """The daemon puts its own handlers and levels in the place of the test's."""
    root, ours = logging.getLogger(), logging.getLogger("ollama_proxyd")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_logging: None) -> AsyncIterator[Start]:
    for name, address in NO_BUS.items():
        monkeypatch.setenv(name, address)
    daemons: list[Daemon] = []
    client = aiohttp.ClientSession()

    async def run(config: dict[str, Any], demo: Demo = Demo.ALWAYS) -> Running:
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(config))
        environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
        options = LaunchOptions(environ, file, Overrides(http_port=0), demo)
        daemon = Daemon(options, options.load())
        daemons.append(daemon)
        await daemon.start()
        return Running(daemon, file, client)

    yield run
    for daemon in daemons:
        await daemon.stop()
    await client.close()
    await settle()  # connections close in the loop's next steps


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener()
    logging.getLogger("ollama_proxyd").addHandler(listener)
    yield said
    logging.getLogger("ollama_proxyd").removeHandler(listener)
