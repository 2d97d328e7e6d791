"""Takes our names on a bus, waits for those that another program has, and says once how that stands."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dbus_fast import Message, MessageType, NameFlag, RequestNameReply

from ollama_proxyd.edges.plumbing.dbus import BUS, Bus, BusError, CallError

log = logging.getLogger(__name__)

_OURS = frozenset({RequestNameReply.PRIMARY_OWNER.value, RequestNameReply.ALREADY_OWNER.value})


class Names:
    """Names on one connection; those that are taken are queued for, and the bus tells when they become ours.

    tell: hears how that stands: what the trouble is, or "" once all of them are ours.
    """

    def __init__(self, bus: Bus, names: Sequence[str], tell: Callable[[str], None] = lambda _: None) -> None:
        self._bus = bus
        self._tell = tell
        self._names = tuple(names)
        self._ours: set[str] = set()
        self._refusals: dict[str, str] = {}
        self._has_warned = self._is_given_back = False

    async def take(self) -> None:
        """Own every name, or wait in the queue for it; raises BusError when the connection ends."""
        self._is_given_back = False
        self._bus.connection.add_message_handler(self._hear)
        # At once: a caller of the first name may call the second, and the bus would start another daemon for it.
        await asyncio.gather(*map(self._ask, self._names))
        if self._is_given_back:  # meanwhile
            return
        if missing := self._missing():
            trouble = await self._trouble(missing)
            log.warning("%s", trouble)
            self._has_warned = True
            self._tell(trouble)
        if not self._missing():
            log.info("on the %s as %s", self._bus.label, self._names[0])
            self._tell("")

    async def release(self) -> None:
        """Give the names back, the first one last; calls that came for them until then have arrived when this ends."""
        self.leave()
        self._is_given_back = True
        self._ours.clear()
        with suppress(OSError):  # the bus takes them back by itself when the connection ends
            for name in reversed(self._names):
                await self._bus.call(BUS, "ReleaseName", "s", [name])

    def leave(self) -> None:
        """Stop listening; the names stay until they are released or the connection ends."""
        self._bus.connection.remove_message_handler(self._hear)

    async def _ask(self, name: str) -> None:
        try:
            (reply,) = await self._bus.call(BUS, "RequestName", "su", [name, NameFlag.NONE.value])
        except CallError as error:
            self._refusals[name] = str(error)
        except TimeoutError as error:
            raise BusError(str(error)) from None
        else:
            if reply in _OURS:
                self._ours.add(name)

    def _hear(self, message: Message) -> None:
        """A name became ours while we waited for it; the bus tells that to its new owner alone."""
        is_news = message.message_type is MessageType.SIGNAL and message.member == "NameAcquired"
        if not is_news or message.sender != BUS.name or not message.body:
            return
        was_missing = set(self._missing())
        self._ours.add(message.body[0])
        if self._has_warned and was_missing and not self._missing():
            log.info("on the %s as %s", self._bus.label, self._names[0])
            self._tell("")

    def _missing(self) -> list[str]:
        return [name for name in self._names if name not in self._ours]

    async def _trouble(self, missing: Sequence[str]) -> str:
        """Why names are missing, and what to do, in one sentence."""
        which = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
        refusal = self._refusals.get(missing[0])
        if refusal is not None:
            return f"the {self._bus.label} does not let us own the name {which}: {refusal}; everything but D-Bus works"
        belong = "belongs" if len(missing) == 1 else "belong"
        return (
            f"the name {which} on the {self._bus.label} {belong} to another program ({await self._owner(missing[0])}); "
            "end it, and this daemon takes them by itself; everything but D-Bus works meanwhile"
        )

    async def _owner(self, name: str) -> str:
        """Who owns a name: its program and process as far as the bus and the kernel tell, and its name on the bus."""
        owner = await self._bus.owner_of(name)
        if owner is None:
            return "which has just ended"
        try:
            (pid,) = await self._bus.call(BUS, "GetConnectionUnixProcessID", "s", [owner])
        except (CallError, TimeoutError):
            return owner
        return f"{_program(pid)}pid {pid}, {owner}"


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip() + ", "
    except OSError:
        return ""
