"""What the daemon relies on in logind, as a check that the fake has to pass as well as the real one.

Run as a program, it checks the logind of the machine that it runs on, which it sends to sleep.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

NAME, PATH, MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
WHO = "contract-check"
PATIENCE_S = 15.0


class Contract:
    """The checks, on a bus that has a logind.

    suspend: has the machine sleep and wake up. is_held: whether logind still counts the lock that was taken last.
    """

    def __init__(
        self, bus: MessageBus, suspend: Callable[[], Awaitable[None]], is_held: Callable[[], Awaitable[bool]]
    ) -> None:
        self._bus = bus
        self._suspend = suspend
        self._is_held = is_held

    async def check(self) -> None:
        """Everything; raises AssertionError."""
        await self._check_delay()
        await self._check_lock()
        await self._check_sleep()

    async def _call(self, interface: str, member: str, signature: str, *body: object) -> Message:
        message = Message(NAME, PATH, interface, member, signature=signature, body=list(body))
        reply = await asyncio.wait_for(self._bus.call(message), PATIENCE_S)
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply

    async def _check_delay(self) -> None:
        """The longest delay is a property of type t, in microseconds."""
        reply = await self._call("org.freedesktop.DBus.Properties", "Get", "ss", MANAGER, "InhibitDelayMaxUSec")
        assert reply.body[0].signature == "t"
        assert 100_000 <= reply.body[0].value <= 60_000_000

    async def _lock(self) -> int:
        """A lock is one file descriptor."""
        reply = await self._call(MANAGER, "Inhibit", "ssss", "sleep", WHO, "to see", "delay")
        assert (reply.signature, len(reply.unix_fds)) == ("h", 1)
        return reply.unix_fds[0]

    async def _check_lock(self) -> None:
        """It lasts until its last copy is closed."""
        first = await self._lock()
        second = os.dup(first)
        os.close(first)
        await asyncio.sleep(0.1)
        assert await self._is_held()
        os.close(second)
        async with asyncio.timeout(PATIENCE_S):
            while await self._is_held():  # noqa: ASYNC110 - another process's view of a pipe
                await asyncio.sleep(0.01)

    async def _check_sleep(self) -> None:
        """PrepareForSleep comes from the owner of the name, true before and false after, once the lock is gone."""
        owner = (await self._ask_bus("GetNameOwner", NAME)).body[0]
        await self._ask_bus("AddMatch", f"type='signal',interface='{MANAGER}',member='PrepareForSleep'")
        heard: asyncio.Queue[Message] = asyncio.Queue()

        def hear(message: Message) -> None:
            if message.member == "PrepareForSleep":
                heard.put_nowait(message)

        self._bus.add_message_handler(hear)
        lock = await self._lock()
        sleeping = asyncio.ensure_future(self._suspend())
        before = await asyncio.wait_for(heard.get(), PATIENCE_S)
        assert (before.sender, before.signature, before.body) == (owner, "b", [True])
        with suppress(TimeoutError):
            raise AssertionError(await asyncio.wait_for(heard.get(), 0.2))
        os.close(lock)
        after = await asyncio.wait_for(heard.get(), PATIENCE_S)
        assert (after.sender, after.body) == (owner, [False])
        await sleeping
        self._bus.remove_message_handler(hear)

    async def _ask_bus(self, member: str, word: str) -> Message:
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        message = Message(*bus, member, signature="s", body=[word])
        reply = await asyncio.wait_for(self._bus.call(message), PATIENCE_S)
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply


async def check_this_machine() -> None:
    """The checks, on the real one."""
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()

    async def ask(member: str, signature: str = "", *body: object) -> Message:
        reply = await bus.call(Message(NAME, PATH, MANAGER, member, signature=signature, body=list(body)))
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply

    async def suspend() -> None:
        await ask("Suspend", "b", False)

    async def is_held() -> bool:
        return any(who == WHO for _what, who, *_ in (await ask("ListInhibitors")).body[0])

    await Contract(bus, suspend, is_held).check()


if __name__ == "__main__":
    asyncio.run(check_this_machine())
