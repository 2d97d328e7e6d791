"""When the service manager's watchdog is fed."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.app.watchdog import Watchdog
from ollama_proxyd.edges.host.notify import Notifier
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import SteppedClock, settle

PERIOD_S = 40.0


class Manager:
    """Where signs of life arrive, and a server that says yes to everything."""

    def __init__(self, folder: Path) -> None:
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(folder / "notify"))
        self._ear.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(PERIOD_S * 1e6))}
        self.notifier = Notifier({**environ, "WATCHDOG_PID": str(os.getpid())})
        self.places: list[Any] = []
        self.asked = 0

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.places.append(server.sockets[0].getsockname())
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def fed(self) -> bytes:
        async with asyncio.timeout(20):
            return await asyncio.get_running_loop().sock_recv(self._ear, 1000)

    def close(self) -> None:
        self._ear.close()


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    manager = Manager(tmp_path)
    server = await manager.serve()
    yield manager
    server.close()
    await server.wait_closed()
    manager.close()


async def test_it_is_fed_twice_in_each_period_as_long_as_requests_are_served(manager: Manager) -> None:
    clock = SteppedClock()
    watchdog = Watchdog(manager.notifier, lambda: manager.places, clock)
    async with Tasks("test") as tasks:
        tasks.start("watchdog", watchdog.feed())
        for number in range(1, 4):
            assert await manager.fed() == b"WATCHDOG=1"
            assert watchdog.calls == manager.asked == number
            await settle()
            clock.advance(PERIOD_S / 2)
            await settle()


async def test_where_nothing_is_accepted_for_a_moment_it_is_fed_as_soon_as_something_is(manager: Manager) -> None:
    places, manager.places = manager.places, []
    clock = SteppedClock()
    watchdog = Watchdog(manager.notifier, lambda: manager.places, clock)
    async with Tasks("test") as tasks:
        tasks.start("watchdog", watchdog.feed())
        await settle()
        clock.advance(PERIOD_S / 8)
        await settle()
        assert (watchdog.calls, manager.asked) == (0, 0)
        manager.places = places
        await settle()
        clock.advance(PERIOD_S / 4)
        await settle()
        assert await manager.fed() == b"WATCHDOG=1"
