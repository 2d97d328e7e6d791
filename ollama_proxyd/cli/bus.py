"""A connection to a message bus for programs that wait: one call after another, then signals as they come."""

import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ollama_proxyd.cli.bus_socket import BusSocket
from ollama_proxyd.cli.failures import Failed, Invalid, Unreachable
from ollama_proxyd.cli.wire import Reader, Variant, Writer, aligned

CALL_S = 10.0
"""How long an answer may take; starting a service is waited for as long."""
BURST_S = 0.05
"""Signals of one change come together; they are taken together."""
HEAD_BYTES = 16
"""Up to the length of the header's fields; after these, the body begins at a multiple of eight."""
MAX_BYTES = 2**27
"""The longest message that the protocol allows."""

CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
"""Kinds of messages, and the fields of their headers."""
NO_AUTO_START = 2

GONE = {
    f"org.freedesktop.DBus.Error.{name}" for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")
}
"""Errors that say that nobody is there any more to refuse."""
INVALID = ".Error.InvalidArgument"
"""How the name of an error ends that is the asker's."""


class Target(NamedTuple):
    """An interface of an object of a program."""

    name: str
    path: str
    interface: str


class Message(NamedTuple):
    """What came in."""

    kind: int
    fields: dict[int, Any]
    body: tuple[Any, ...]


BUS = Target("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""The bus itself."""


class Bus:
    """One connection, made at once; raises Unreachable when it cannot be made, and when it ends."""

    def __init__(self, address: str) -> None:
        self._socket = BusSocket(address)
        self._serial = 0
        self._signals: deque[Message] = deque()
        try:
            self.call(BUS, "Hello")
        except Failed:
            self.close()
            raise

    def call(self, target: Target, member: str, signature: str = "", *body: Any) -> Any:
        """What a method answers, None where it answers nothing; raises Failed. Never starts a service by itself."""
        self._serial += 1
        self._socket.send(_call(self._serial, target, member, signature, body))
        deadline_s = time.monotonic() + CALL_S
        while True:
            message = self._receive(deadline_s - time.monotonic())
            if message is None:
                raise Unreachable(f"{target.name} did not answer {member} within {CALL_S:g} s")
            if message.kind == SIGNAL:
                self._signals.append(message)
            elif message.fields.get(REPLY_SERIAL) == self._serial:
                return _answer(message)

    def owner_of(self, name: str) -> str | None:
        """The unique name of whoever owns a name now."""
        if not self.call(BUS, "NameHasOwner", "s", name):
            return None
        owner: str = self.call(BUS, "GetNameOwner", "s", name)
        return owner

    def start(self, name: str) -> None:
        """Have the bus start a service and wait until it is there; raises Failed."""
        self.call(BUS, "StartServiceByName", "su", name, 0)

    def bursts(self, rules: Sequence[str]) -> Iterator[Sequence[Message]]:
        """Signals that match one of the rules, those of one moment together; an empty one as soon as it listens."""
        for rule in rules:
            self.call(BUS, "AddMatch", "s", rule)
        yield ()
        while True:
            if not self._signals:
                self._take(None)
            while self._take(BURST_S):
                pass
            burst = tuple(self._signals)
            self._signals.clear()
            yield burst

    def close(self) -> None:
        """End the connection, and with it whatever a daemon ties to it."""
        self._socket.close()

    def _take(self, wait_s: float | None) -> bool:
        """Keep the next signal; whether one came in time."""
        message = self._receive(wait_s)
        if message is not None and message.kind == SIGNAL:
            self._signals.append(message)
        return message is not None

    def _receive(self, wait_s: float | None) -> Message | None:
        """The next message; None where none has begun to come in time."""
        if not self._socket.ready(wait_s):
            return None
        head = self._socket.read(HEAD_BYTES)
        order = "<" if head[:1] == b"l" else ">"
        body_bytes, _serial, fields_bytes = struct.unpack_from(f"{order}III", head, 4)
        body_at = aligned(HEAD_BYTES + fields_bytes, 8)
        if body_at + body_bytes > MAX_BYTES:
            raise Unreachable("what came from the bus is not a D-Bus message: it is too long")
        whole = head + self._socket.read(body_at + body_bytes - HEAD_BYTES)
        try:
            *_, fields = Reader(whole, order).read("yyyyuua(yv)")
            said = dict(fields)
            return Message(head[1], said, Reader(whole[body_at:], order).read(said.get(SIGNATURE, "")))
        except ValueError as error:
            raise Unreachable(f"what came from the bus is {error}") from None


def _call(serial: int, target: Target, member: str, signature: str, body: Sequence[Any]) -> bytes:
    fields = [
        (PATH, Variant("o", target.path)),
        (INTERFACE, Variant("s", target.interface)),
        (MEMBER, Variant("s", member)),
        (DESTINATION, Variant("s", target.name)),
    ]
    if signature:
        fields.append((SIGNATURE, Variant("g", signature)))
    content, message = Writer(), Writer()
    content.write(signature, body)
    message.write("yyyyuua(yv)", (ord("l"), CALL, NO_AUTO_START, 1, len(content.data), serial, fields))
    message.pad(8)
    return bytes(message.data + content.data)


def _answer(message: Message) -> Any:
    if message.kind == ERROR:
        name = message.fields.get(ERROR_NAME, "")
        said = str(message.body[0]) if message.body else name
        if name.endswith(INVALID):
            raise Invalid(said)
        raise Unreachable(said) if name in GONE else Failed(said)
    return message.body[0] if message.body else None
