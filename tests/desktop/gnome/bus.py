"""A program on a message bus that asks and waits for the answer, for tests that are not asynchronous."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.auth import UID_NOT_SPECIFIED, AuthExternal
from dbus_fast.unpack import unpack_variants

T = TypeVar("T")
PATIENCE_S = 60.0
PROPERTIES = "org.freedesktop.DBus.Properties"


async def _connected(address: str) -> MessageBus:
    # As whom the kernel says: this process may have connected as another user.
    return await MessageBus(bus_address=address, auth=AuthExternal(UID_NOT_SPECIFIED)).connect()


class Refused(AssertionError):
    """An error that came back over the bus."""


class Bus:
    """A connection of its own; it reads only while it waits for an answer."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._bus = self._wait(_connected(address))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE_S))

    def ask(self, name: str, path: str, member: str, signature: str = "", *body: Any) -> Any:
        """Call `member`, an interface and a method of it; returns the values: one alone, else a list."""
        interface, _, method = member.rpartition(".")
        question = Message(name, path, interface, method, signature=signature, body=list(body))
        reply = self._wait(self._bus.call(question))
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            raise Refused(f"{member}{body!r:.200}: {reply.error_name}: {reply.body[0] if reply.body else ''}")
        values = unpack_variants(reply.body)
        return values[0] if len(values) == 1 else values

    def owner_of(self, name: str) -> str | None:
        """The unique name of who has that name now."""
        try:
            owner: str = self.ask(*_DAEMON, f"{_DAEMON[0]}.GetNameOwner", "s", name)
        except Refused:
            return None
        return owner

    def matches_of(self, name: str) -> int:
        """How many signals somebody has asked the bus for."""
        return len(self.rules_of(name))

    def rules_of(self, name: str) -> list[str]:
        """Which signals somebody has asked the bus for."""
        rules = self.ask(*_DAEMON, "org.freedesktop.DBus.Debug.Stats.GetAllMatchRules")
        return list(rules.get(self.owner_of(name), []))

    def close(self) -> None:
        self._bus.disconnect()
        self._wait(self._bus.wait_for_disconnect())
        self._loop.close()


_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus")
