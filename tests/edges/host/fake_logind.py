"""The part of logind that the daemon uses, on a bus of the test's own.

logind_contract.py is what it has to keep: test_fake_logind.py checks it, and tests/box/test_box_logind.py the real one.
"""

import asyncio
import os

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

NAME, PATH, MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
DELAY_S = 0.5


class Lock:
    """One inhibitor, as logind sees it."""

    def __init__(self, what: str, mode: str) -> None:
        self.what = what
        self.mode = mode
        self._ours, self.theirs = os.pipe()

    def give_away(self) -> None:
        os.close(self.theirs)

    @property
    def is_held(self) -> bool:
        """Whether somebody has the other end open: nobody writes, so only its end makes this readable."""
        os.set_blocking(self._ours, False)
        try:
            return os.read(self._ours, 1) != b""
        except BlockingIOError:
            return True

    async def released(self) -> None:
        async with asyncio.timeout(20):
            while self.is_held:  # noqa: ASYNC110 - another process's end of a pipe
                await asyncio.sleep(0.005)

    def close(self) -> None:
        os.close(self._ours)


class FakeLogind:
    """Gives locks, tells of sleep, and refuses what a test says."""

    def __init__(self) -> None:
        self.locks: list[Lock] = []
        self.refused: set[str] = set()
        self.is_ill = False
        self._taken = asyncio.Event()
        self._bus: MessageBus | None = None

    async def start(self, address: str) -> None:
        self._bus = MessageBus(bus_address=address, negotiate_unix_fd=True)
        await self._bus.connect()
        self._bus.add_message_handler(self._answer)
        await self._bus.request_name(NAME)

    async def lock(self, number: int) -> Lock:
        """The lock of this number, once it was taken."""
        async with asyncio.timeout(20):
            while len(self.locks) <= number:
                self._taken.clear()
                await self._taken.wait()
        return self.locks[number]

    def tell(self, sleeps: bool) -> None:
        assert self._bus is not None
        self._bus.send(Message.new_signal(PATH, MANAGER, "PrepareForSleep", "b", [sleeps]))

    def _answer(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.member == "Get":
            return Message.new_method_return(message, "v", [Variant("t", int(DELAY_S * 1e6))])
        if message.member != "Inhibit":
            return None
        what, _who, _why, mode = message.body
        if what in self.refused:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
        if self.is_ill:
            return Message.new_error(message, "org.freedesktop.DBus.Error.NoReply", "Message recipient disconnected")
        lock = Lock(what, mode)
        self.locks.append(lock)
        self._taken.set()
        asyncio.get_running_loop().call_later(0.05, lock.give_away)
        return Message.new_method_return(message, "h", [0], unix_fds=[lock.theirs])

    async def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()
        await asyncio.sleep(0.06)
        for lock in self.locks:
            lock.close()
