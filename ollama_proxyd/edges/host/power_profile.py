"""Holds power-profiles-daemon's profile power-saver while that is wanted."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from dbus_fast import Message

from ollama_proxyd.core.power_saver import SAVER
from ollama_proxyd.edges.plumbing.dbus import Bus, Match, Target
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

PLACES: Final = (
    ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
)
"""The present name, and the one before version 0.20."""
REASON: Final = "an answer is written in a thrifty mode"
APPLICATION_ID: Final = "ie.fio.OllamaProxy"


class HeldProfile:
    """Takes and gives back the hold; power-profiles-daemon ends it by itself when we leave the bus.

    A person who chooses a profile ends all holds; then ours is not taken again before they choose once more.
    """

    def __init__(self, saver: PowerSaver) -> None:
        self._saver = saver
        self._cookie: int | None = None
        self._said = ""

    async def follow(self, bus: Bus) -> None:
        """Hold while it is wanted, for as long as the bus lasts; raises BusError when it ends."""
        async with Tasks("power-saver") as tasks:
            tasks.start("hold", self._hold(bus))
            await bus.disconnected()
        self._forget()
        raise bus.lost()

    async def _hold(self, bus: Bus) -> None:
        async for is_wanted in self._saver.is_wanted.changes():
            if not is_wanted:
                continue
            try:
                await self._hold_once(bus)
            except OSError as error:
                self._say(str(error))
            finally:
                self._forget()

    async def _hold_once(self, bus: Bus) -> None:
        """One hold, from its beginning to its end."""
        target = await _present(bus)
        if target is None:
            return
        over = asyncio.Event()

        def heard(message: Message) -> None:
            if message.body[:1] == [self._cookie]:
                over.set()

        owner = await bus.owner_of(target.name)
        async with bus.hear(Match(target.interface, "ProfileReleased", target.path, owner), heard):
            (self._cookie,) = await bus.call(target, "HoldProfile", "sss", [SAVER, REASON, APPLICATION_ID])
            self._saver.held()
            async with Tasks("power-saver.hold") as tasks:
                unwanted = tasks.start("unwanted", self._saver.is_wanted.until(lambda wanted: not wanted))
                released = tasks.start("released", over.wait())
                try:
                    await asyncio.wait({unwanted, released}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not over.is_set() and bus.is_connected:
                        await self._release(bus, target)
            if over.is_set() and self._cookie is not None:
                self._cookie = None
                self._saver.overruled(await _active(bus, target))

    def _say(self, why: str) -> None:
        """Log why there is no hold, once for each reason."""
        if why != self._said:
            log.info("the power profile power-saver is not held: %s", why)
        self._said = why

    async def _release(self, bus: Bus, target: Target) -> None:
        cookie, self._cookie = self._cookie, None
        with suppress(OSError):
            await bus.call(target, "ReleaseProfile", "u", [cookie])

    def _forget(self) -> None:
        self._cookie = None
        if self._saver.is_held:
            self._saver.let_go()


async def _present(bus: Bus) -> Target | None:
    """The daemon under one of its names; it is never started, since that alone may change the profile."""
    for name, path in PLACES:
        if await bus.owner_of(name) is not None:
            return Target(name, path, name)
    return None


async def _active(bus: Bus, target: Target) -> str:
    """The profile that is active now."""
    properties = Target(target.name, target.path, PROPERTIES)
    (value,) = await bus.call(properties, "Get", "ss", [target.interface, "ActiveProfile"])
    profile: Any = value.value
    return str(profile)
