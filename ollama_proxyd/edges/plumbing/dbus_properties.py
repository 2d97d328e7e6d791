"""Follows the properties of other programs' objects, by their signals.

Signals are matched on path and interface and accepted only from the owner of the name: one process may own two names
(power-profiles-daemon does), and any process can send a signal that looks like a service's.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

from dbus_fast import Message
from dbus_fast.unpack import unpack_variants

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.dbus import Bus, BusError, CallError, Match, Target

PROPERTIES = "org.freedesktop.DBus.Properties"
RETRY_S = 30.0
"""A silent object is asked again after this time."""

Properties: TypeAlias = Mapping[str, Any]


@value
class Service:
    """A service as people know it.

    package: what to install where it is missing. unit: what to start where it does not run, "" where it starts when it
    is needed. starts: the bus may be asked to start it.
    """

    name: str
    title: str
    package: str
    unit: str = ""
    starts: bool = False


@value
class NotRunning(Unavailable):
    """A service's name has no owner. is_installed: the bus can start it, or it was there before."""

    is_installed: bool


@value
class Remote:
    """An interface of one of its objects."""

    service: Service
    path: str
    interface: str


class _Followed:
    """One remote object: who owns its name, and what its properties are as far as they are known."""

    def __init__(self, bus: Bus, remote: Remote, wake: Callable[[], None]) -> None:
        self.remote = remote
        self._bus = bus
        self._wake = wake
        self._owner: str | None = None
        self._is_owner_known = False
        self._was_there = False
        self.is_stale = False
        """Whether all properties are asked for at the next update."""
        self._news: dict[str, Any] = {}
        self.state: Properties | Unavailable = Unavailable.because("service_not_asked", service=remote.service.title)

    async def begin(self, stack: AsyncExitStack) -> None:
        """Hear its signals until the stack unwinds, and find out who owns its name."""
        name = self.remote.service.name
        match = Match(PROPERTIES, "PropertiesChanged", self.remote.path, arg0=self.remote.interface)
        await stack.enter_async_context(self._bus.hear(match, self._hear_change))
        await stack.enter_async_context(self._bus.hear_owners(name, self._hear_owner))
        owner = await self._bus.owner_of(name)
        if owner is None and self.remote.service.starts:
            owner = await self._start()
        if not self._is_owner_known:  # what was heard meanwhile is newer than the answer
            self._hear_owner(owner)

    async def _start(self) -> str | None:
        name = self.remote.service.name
        try:
            await self._bus.start(name)
        except (CallError, TimeoutError):
            return None
        return await self._bus.owner_of(name)

    def _hear_owner(self, owner: str | None) -> None:
        self._owner = owner
        self._is_owner_known = True
        self._was_there = self._was_there or owner is not None
        self.is_stale = True
        self._wake()

    def _hear_change(self, message: Message) -> None:
        if message.sender != self._owner or message.signature != "sa{sv}as":
            return
        _, changed, invalidated = message.body
        self._news.update(unpack_variants(changed))
        self.is_stale = self.is_stale or bool(invalidated) or isinstance(self.state, Unavailable)
        self._wake()

    async def update(self) -> None:
        """Bring `state` up to what was heard; asks for all properties where signals do not tell them."""
        service = self.remote.service
        if self._owner is None:
            is_known = self._was_there or await self._bus.can_start(service.name)
            self.state = _not_running(service, "service_left" if self._was_there else "service_not_running", is_known)
        elif self.is_stale:
            await self._ask(self._owner)
        elif self._news and not isinstance(self.state, Unavailable):
            self.state = {**self.state, **self._take_news()}

    async def _ask(self, owner: str) -> None:
        self.is_stale = False
        self._news.clear()
        target = Target(owner, self.remote.path, PROPERTIES)
        try:
            (values,) = await self._bus.call(target, "GetAll", "s", [self.remote.interface])
        except BusError:
            raise
        except OSError as error:
            self.state = Unavailable.because("service_failed", service=self.remote.service.title, detail=str(error))
            return
        # What was heard while asking may be newer than the answer, and is never older in the end.
        self.state = {**unpack_variants(values), **self._take_news()}

    def _take_news(self) -> dict[str, Any]:
        news, self._news = self._news, {}
        return news

    @property
    def is_silent(self) -> bool:
        """Whether its service is there and did not answer."""
        return self._owner is not None and isinstance(self.state, Unavailable)


def _not_running(service: Service, code: str, is_installed: bool) -> NotRunning:
    if not is_installed:
        return NotRunning(Reason("service_not_installed", service=service.title, package=service.package), False)
    return NotRunning(Reason(code, service=service.title, unit=service.unit or None), True)


async def follow(
    bus: Bus, remotes: Sequence[Remote], retry_s: float = RETRY_S
) -> AsyncGenerator[tuple[Properties | Unavailable, ...], None]:
    """What the properties of each remote are now, then after each change; where they cannot be known, the reason.

    Changes that come at once are told at once. Raises BusError when the connection ends.
    """
    changed = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.callback(bus.at_end(changed.set))
        followed = [_Followed(bus, remote, changed.set) for remote in remotes]
        for each in followed:
            await each.begin(stack)
        told: tuple[Properties | Unavailable, ...] | None = None
        while bus.is_connected:
            changed.clear()
            for each in followed:
                await each.update()
            now = tuple(each.state for each in followed)
            if now != told:
                told = now
                yield now
            silent = [each for each in followed if each.is_silent]
            try:
                async with asyncio.timeout(retry_s if silent else None):
                    await changed.wait()
            except TimeoutError:
                for each in silent:
                    each.is_stale = True
    raise bus.lost()
