"""A connection to a D-Bus message bus: calls with deadlines, signals, who owns a name, and when it ends."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.dbus_writer import be_patient, waiting_messages

CONNECT_S = 5.0
CALL_S = 5.0
START_S = 25.0
"""How long a service may take to start when the bus is asked to start it."""
CLOSE_S = 1.0
MOST_WAITING = 10_000
"""With so many unread messages the connection is given up, to bound memory."""


class BusError(ConnectionError):
    """The bus cannot be reached, or the connection to it has ended; the text is a sentence."""


class CallError(OSError):
    """The other side refused a call; `name` is the D-Bus name of its error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@value
class Target:
    """An interface of an object: the target of calls and of followed properties."""

    name: str
    path: str
    interface: str


BUS = Target("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""The bus itself."""


@value
class Match:
    """Which signals to hear. `sender` is a unique name or the bus's own: the bus resolves no names for us here."""

    interface: str
    member: str
    path: str | None = None
    sender: str | None = None
    arg0: str | None = None

    def __str__(self) -> str:
        fields = ("interface", "member", "path", "sender", "arg0")
        given = (f"{name}='{getattr(self, name)}'" for name in fields if getattr(self, name) is not None)
        return ",".join(("type='signal'", *given))

    def fits(self, message: Message) -> bool:
        """Whether a message is such a signal."""
        return (
            message.message_type is MessageType.SIGNAL
            and message.member == self.member
            and message.interface == self.interface
            and self.path in {None, message.path}
            and self.sender in {None, message.sender}
            and (self.arg0 is None or message.body[:1] == [self.arg0])
        )


class _Connection(MessageBus):
    """The library's connection, which never writes to a socket that is gone."""

    def send(self, msg: Message) -> asyncio.Future[None]:  # type: ignore[override] # as the library's own does
        if not self.connected:
            raise BusError("the connection to the bus has ended")
        if waiting_messages(self) >= MOST_WAITING:
            self.disconnect()
            raise BusError(f"the bus has not read the last {MOST_WAITING} messages, so the connection is given up")
        sent: asyncio.Future[None] = super().send(msg)
        sent.add_done_callback(_retrieve)
        return sent


def _retrieve(done: asyncio.Future[None]) -> None:
    """The end of the connection is reported; asyncio need not log its error, or that of a failed write, as well."""
    if not done.cancelled():
        done.exception()


class Bus:
    """One live connection; `connect` makes it. Objects are exported on the library's own `connection`."""

    def __init__(self, connection: MessageBus, label: str) -> None:
        self.connection = connection
        self.label = label
        ending = connection.wait_for_disconnect()
        self._ending: asyncio.Task[None] = asyncio.create_task(ending, name=f"dbus.end of the {label}")
        self._ending.add_done_callback(_retrieve)

    @property
    def unique_name(self) -> str:
        """What the bus calls this connection (":1.42")."""
        return str(self.connection.unique_name)

    @property
    def is_connected(self) -> bool:
        """Whether it still lives."""
        return self.connection.connected and not self._ending.done()

    def lost(self) -> BusError:
        """The error that says that this connection has ended, and why."""
        error = None if not self._ending.done() or self._ending.cancelled() else self._ending.exception()
        cause = f": {error}" if error is not None and str(error) else ""
        return BusError(f"the connection to the {self.label} has ended{cause}")

    async def disconnected(self) -> None:
        """Wait until the connection has ended."""
        await asyncio.wait({self._ending})

    def at_end(self, tell: Callable[[], None]) -> Callable[[], object]:
        """Call `tell` once the connection has ended; returns what takes that back."""

        def ended(_: asyncio.Task[None]) -> None:
            tell()

        self._ending.add_done_callback(ended)
        return lambda: self._ending.remove_done_callback(ended)

    async def call(
        self, target: Target, member: str, signature: str = "", body: Sequence[Any] = (), deadline_s: float = CALL_S
    ) -> list[Any]:
        """Ask and return the answer's values; never starts a service.

        Raises BusError, CallError, or TimeoutError with a sentence; each of them is an OSError.
        """
        return (await self._ask(target, member, signature, body, deadline_s)).body

    async def call_for_file(self, target: Target, member: str, signature: str, body: Sequence[Any]) -> int:
        """Ask for an open file and return its descriptor, which is the caller's now; raises as `call` does."""
        reply = await self._ask(target, member, signature, body, CALL_S)
        if not reply.unix_fds:
            raise CallError("", f"{target.name} answered {member} without a file")
        return int(reply.unix_fds[0])

    async def _ask(
        self, target: Target, member: str, signature: str, body: Sequence[Any], deadline_s: float
    ) -> Message:
        question = _question(target, member, MessageFlag.NO_AUTOSTART, signature, body)
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self.connection.call(question)
        except TimeoutError:
            raise TimeoutError(f"{target.name} did not answer {member} within {deadline_s:g} s") from None
        except (OSError, EOFError) as error:
            raise self.lost() from error
        if reply.message_type is MessageType.ERROR:
            raise CallError(reply.error_name or "", str(reply.body[0]) if reply.body else f"{member} failed")
        return reply

    def send(self, message: Message) -> None:
        """Send a message without a reply; raises BusError when the connection has ended."""
        self.connection.send(message)

    @asynccontextmanager
    async def hear(self, match: Match, heard: Callable[[Message], None]) -> AsyncGenerator[None, None]:
        """Call `heard` with every such signal while the context lasts."""

        def pick(message: Message) -> None:
            if match.fits(message):
                heard(message)

        self.connection.add_message_handler(pick)
        try:
            await self.call(BUS, "AddMatch", "s", [str(match)])
            yield
        finally:
            self.connection.remove_message_handler(pick)
            if self.is_connected:
                self.send(_question(BUS, "RemoveMatch", MessageFlag.NO_REPLY_EXPECTED, "s", [str(match)]))

    @asynccontextmanager
    async def hear_owners(self, name: str, heard: Callable[[str | None], None]) -> AsyncGenerator[None, None]:
        """Call `heard` with the new owner of a name at every change (None without one)."""
        match = Match(BUS.interface, "NameOwnerChanged", BUS.path, BUS.name, arg0=name)
        async with self.hear(match, lambda message: heard(message.body[2] or None)):
            yield

    async def owner_of(self, name: str) -> str | None:
        """The unique name of a name's owner now."""
        try:
            (owner,) = await self.call(BUS, "GetNameOwner", "s", [name])
        except CallError:
            return None
        return str(owner)

    async def can_start(self, name: str) -> bool:
        """Whether the bus knows how to start the service of this name."""
        (names,) = await self.call(BUS, "ListActivatableNames")
        return name in names

    async def start(self, name: str, deadline_s: float = START_S) -> None:
        """Have the bus start a service; raises CallError where it knows no such service."""
        await self.call(BUS, "StartServiceByName", "su", [name, 0], deadline_s)

    async def close(self) -> None:
        """End the connection."""
        self.connection.disconnect()
        await asyncio.wait({self._ending}, timeout=CLOSE_S)


def _question(target: Target, member: str, flags: MessageFlag, signature: str, body: Sequence[Any]) -> Message:
    return Message(
        destination=target.name,
        path=target.path,
        interface=target.interface,
        member=member,
        flags=flags,
        signature=signature,
        body=list(body),
    )


async def connect(
    which: BusType | str = BusType.SESSION, deadline_s: float = CONNECT_S, *, takes_files: bool = False
) -> Bus:
    """Connect to the session bus, the system bus, or the bus at an address; raises BusError.

    takes_files: open files may come in messages, which makes reading them a little slower.
    """
    label = f"{which.name.lower()} bus" if isinstance(which, BusType) else f"bus at {which}"
    try:
        connection = _Connection(bus_address=_address(which), bus_type=BusType.SYSTEM, negotiate_unix_fd=takes_files)
        async with asyncio.timeout(deadline_s):
            await connection.connect()
    except TimeoutError as error:
        raise BusError(f"the {label} did not accept a connection within {deadline_s:g} s") from error
    except (OSError, EOFError, DBusFastError) as error:
        raise BusError(f"the {label} cannot be reached: {_cause(error)}") from error
    be_patient(connection)
    return Bus(connection, label)


def _address(which: BusType | str) -> str | None:
    """None leaves it to the library, which knows the system bus; of the session bus it only knows X11's ways."""
    if isinstance(which, str):
        return which
    if which is BusType.SYSTEM:
        return None
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    if runtime_dir := os.environ.get("XDG_RUNTIME_DIR"):
        return f"unix:path={runtime_dir}/bus"
    raise BusError("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
