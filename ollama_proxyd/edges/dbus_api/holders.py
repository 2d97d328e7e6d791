"""Holds end with the programs that asked for them: watches who of them is still on the bus."""

import asyncio
import logging

from dbus_fast import DBusError

from ollama_proxyd.core.holds import HOLD
from ollama_proxyd.edges.dbus_api.errors import FAILED
from ollama_proxyd.edges.plumbing.dbus import BUS, Bus, BusError
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

ON_BUS = "bus:"
"""Owners on the bus begin so."""


async def owner_of(caller: str, bus: Bus) -> str:
    """The owner of a caller's holds: its process and its connection.

    All connections of a sandbox come from the one process of its proxy.
    """
    try:
        (pid,) = await bus.call(BUS, "GetConnectionUnixProcessID", "s", [caller])
    except OSError as error:  # it has left, or the bus has
        raise DBusError(FAILED, f"who asks cannot be told: {error}") from error
    return f"{ON_BUS}{pid}{HOLD}{caller}"


def connection_of(owner: str) -> str:
    """The unique name of an owner on the bus."""
    return owner.partition(HOLD)[2]


class Holders:
    """The programs on one connection to the bus that hold a mode."""

    def __init__(self, governor: Governor, bus: Bus, tasks: Tasks) -> None:
        self._governor = governor
        self._bus = bus
        self._tasks = tasks
        self._watched: dict[str, asyncio.Event] = {}

    async def follow(self) -> None:
        """Watch every program from its first hold to its last; when this ends, with the connection, so do the holds."""
        try:
            async for holds in self._governor.holds.changes():
                self._compare({hold.owner for hold in holds if hold.owner.startswith(ON_BUS)})
        finally:
            for owner in tuple(self._watched):
                self._governor.release_all(owner)
            self._compare(set())

    def _compare(self, owners: set[str]) -> None:
        for owner in owners - self._watched.keys():
            self._watched[owner] = unneeded = asyncio.Event()
            self._tasks.start(f"holder {connection_of(owner)}", self._watch(owner, unneeded))
        for owner in self._watched.keys() - owners:
            self._watched.pop(owner).set()

    async def _watch(self, owner: str, unneeded: asyncio.Event) -> None:
        def heard(successor: str | None) -> None:
            if successor is None:
                self._governor.release_all(owner)

        name = connection_of(owner)
        try:
            async with self._bus.hear_owners(name, heard):
                heard(await self._bus.owner_of(name))
                await unneeded.wait()
        except BusError:
            return
        except OSError as error:
            log.warning("the holds of %s end, because it cannot be watched: %s", name, error)
            self._governor.release_all(owner)
