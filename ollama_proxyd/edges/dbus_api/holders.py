"""Holds end with the programs that asked for them: watches who of them is still on the bus."""

import asyncio
import logging

from ollama_proxyd.edges.plumbing.dbus import Bus, BusError
from ollama_proxyd.services.governor import Governor
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

UNIQUE = ":"
"""Unique names of the bus begin so; other owners are not on it."""


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
                self._compare({hold.owner for hold in holds if hold.owner.startswith(UNIQUE)})
        finally:
            for owner in tuple(self._watched):
                self._governor.release_all(owner)
            self._compare(set())

    def _compare(self, owners: set[str]) -> None:
        for owner in owners - self._watched.keys():
            self._watched[owner] = unneeded = asyncio.Event()
            self._tasks.start(f"holder {owner}", self._watch(owner, unneeded))
        for owner in self._watched.keys() - owners:
            self._watched.pop(owner).set()

    async def _watch(self, owner: str, unneeded: asyncio.Event) -> None:
        def heard(successor: str | None) -> None:
            if successor is None:
                self._governor.release_all(owner)

        try:
            async with self._bus.hear_owners(owner, heard):
                heard(await self._bus.owner_of(owner))
                await unneeded.wait()
        except BusError:
            return
        except OSError as error:
            log.warning("the holds of %s end, because it cannot be watched: %s", owner, error)
            self._governor.release_all(owner)
