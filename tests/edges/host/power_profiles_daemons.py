"""The part of power-profiles-daemon that is used: a fake of it, and the real one where it is installed.

Both are started on a bus of the test's own; the real one asks PolicyKit, of which there is a fake that allows all.
"""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any, Protocol

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tests.desktop.private_bus import PrivateBus

REAL = Path("/usr/libexec/power-profiles-daemon")
NAME, PATH = "net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"
PROPERTIES = "org.freedesktop.DBus.Properties"
POLKIT = "org.freedesktop.PolicyKit1"


class Profiles(Protocol):
    """A power-profiles-daemon on a bus."""

    async def start(self, bus: PrivateBus) -> None: ...

    async def close(self) -> None: ...


class FakeProfiles:
    """Holds the last profile that was asked for; a chosen one ends all holds, and so does leaving the bus."""

    def __init__(self) -> None:
        self.chosen = "balanced"
        self.holds: dict[int, tuple[str, str]] = {}
        """The holder and the profile of each cookie."""
        self.refuses = False
        self._cookie = 0
        self._bus: MessageBus | None = None

    async def start(self, bus: PrivateBus) -> None:
        self._bus = await MessageBus(bus_address=bus.address).connect()
        self._bus.add_message_handler(self._answer)
        match = "type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged'"
        await self._bus.call(
            Message("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "AddMatch", signature="s", body=[match])
        )
        await self._bus.request_name(NAME)

    async def close(self) -> None:
        assert self._bus is not None
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()

    @property
    def active(self) -> str:
        held = [profile for _, profile in self.holds.values()]
        return "power-saver" if "power-saver" in held else held[-1] if held else self.chosen

    def _answer(self, message: Message) -> Message | None:
        if message.member == "NameOwnerChanged" and message.body[2] == "":
            self.holds = {cookie: hold for cookie, hold in self.holds.items() if hold[0] != message.body[0]}
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        match message.member:
            case "HoldProfile" if self.refuses:
                return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "Not Authorized")
            case "HoldProfile":
                self._cookie += 1
                self.holds[self._cookie] = str(message.sender), message.body[0]
                return Message.new_method_return(message, "u", [self._cookie])
            case "ReleaseProfile":
                del self.holds[message.body[0]]
                return Message.new_method_return(message)
            case "Get":
                return Message.new_method_return(message, "v", [Variant("s", self.active)])
            case "Set":
                self._choose(message.body[2].value)
                return Message.new_method_return(message)
        return None

    def _choose(self, profile: str) -> None:
        assert self._bus is not None
        self.chosen, ended, self.holds = profile, list(self.holds), {}
        for cookie in ended:
            self._bus.send(Message.new_signal(PATH, NAME, "ProfileReleased", "u", [cookie]))


class RealProfiles:
    """The program itself; without a laptop's interfaces it has a driver that does nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._polkit: MessageBus | None = None

    async def start(self, bus: PrivateBus) -> None:
        self._polkit = await MessageBus(bus_address=bus.address).connect()
        self._polkit.add_message_handler(_allow)
        await self._polkit.request_name(POLKIT)
        environ = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([REAL], env=environ, **quiet)  # noqa: ASYNC220 - it starts at once
        async with asyncio.timeout(60):
            while not await self._is_there():  # noqa: ASYNC110 - another process takes its name
                await asyncio.sleep(0.02)

    async def _is_there(self) -> bool:
        assert self._polkit is not None
        reply = await self._polkit.call(
            Message("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", signature="s", body=[NAME])
        )
        return bool(reply and reply.body[0])

    async def close(self) -> None:
        assert self._process is not None
        assert self._polkit is not None
        self._process.kill()
        self._process.wait()
        self._polkit.disconnect()
        await self._polkit.wait_for_disconnect()


def _allow(message: Message) -> Message | None:
    if message.message_type is not MessageType.METHOD_CALL:
        return None
    if message.member == "CheckAuthorization":
        return Message.new_method_return(message, "(bba{ss})", [[True, False, {}]])
    if message.member == "GetAll":
        return Message.new_method_return(message, "a{sv}", [{}])
    return None
