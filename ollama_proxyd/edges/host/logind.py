"""Follows logind's sleep signals, and delays sleep while work is ended."""

import asyncio
import logging

from ollama_proxyd.edges.host.inhibitor import LOGIND, Lock, inhibit, longest_delay_s
from ollama_proxyd.edges.plumbing.dbus import Bus, Match
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.sleep import Sleep
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

WHY = "requests under way are ended in good order"


class SleepWatch:
    """Tells `Sleep` what logind signals; without logind it logs that once and waits for one."""

    def __init__(self, sleeper: Sleep) -> None:
        self._sleeper = sleeper
        self._said_missing = False

    def say_missing(self, reason: str) -> None:
        """Once, until logind is heard again."""
        if not self._said_missing:
            log.info("the machine may fall asleep without a warning, because logind cannot be asked: %s", reason)
        self._said_missing = True

    async def follow(self, bus: Bus) -> None:
        """Listen for as long as the bus lasts; raises BusError when it ends."""
        owner: Cell[str | None] = Cell(None)
        async with Tasks("logind") as tasks, bus.hear_owners(LOGIND.name, owner.set):
            owner.set(await bus.owner_of(LOGIND.name))
            tasks.start("owner", self._follow_owner(bus, owner, tasks))
            await bus.disconnected()
        raise bus.lost()

    async def _follow_owner(self, bus: Bus, owner: Cell[str | None], tasks: Tasks) -> None:
        listening: asyncio.Task[None] | None = None
        async for name in owner.changes():
            if listening is not None:
                listening.cancel()
            if name is None:
                self.say_missing(f"{LOGIND.name} is not on the {bus.label}")
            else:
                listening = tasks.start("sleep", self._listen(bus, name))

    async def _listen(self, bus: Bus, owner: str) -> None:
        """Follow one logind; any process can send such signals, so only its own count."""
        news: asyncio.Queue[bool] = asyncio.Queue()
        match = Match(LOGIND.interface, "PrepareForSleep", LOGIND.path, owner)
        lock: Lock | None = None
        try:
            async with bus.hear(match, lambda message: news.put_nowait(bool(message.body[0]))):
                lock = await self._hold_up(bus)
                self._said_missing = False
                while True:
                    await _next(news, wanted=True)
                    await self._sleep(news, lock, await longest_delay_s(bus))
                    lock = await self._hold_up(bus)
                    await self._wake_up()
        except OSError as error:
            self.say_missing(str(error))
        finally:
            self._sleeper.reopen()
            if lock is not None:
                lock.close()

    async def _sleep(self, news: asyncio.Queue[bool], lock: Lock | None, delay_s: float) -> None:
        """Prepare, let the machine sleep, and return after waking or a cancelled sleep."""
        try:
            async with Tasks("sleep") as tasks:
                preparing = tasks.start("prepare", self._sleeper.prepare(delay_s if lock is not None else 0.0))
                woken = tasks.start("wake", _next(news, wanted=False))
                await asyncio.wait({preparing, woken}, return_when=asyncio.FIRST_COMPLETED)
                if not woken.done() and lock is not None:
                    lock.close()
                await woken
        finally:
            if lock is not None:
                lock.close()

    async def _wake_up(self) -> None:
        async with Tasks("sleep") as tasks:
            await tasks.start("resume", self._sleeper.resume())  # a fault here is not the end of watching

    @staticmethod
    async def _hold_up(bus: Bus) -> Lock | None:
        """The lock that makes logind wait; without it requests are cut off by the sleep itself."""
        try:
            return await inhibit(bus, "sleep", "delay", WHY)
        except OSError as error:
            log.warning("logind does not wait for running requests before the machine sleeps: %s", error)
            return None


async def _next(news: asyncio.Queue[bool], wanted: bool) -> None:
    while await news.get() is not wanted:
        continue
