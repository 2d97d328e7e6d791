"""Lets dbus-fast survive a bus that pauses or ends during a write.

When the socket's buffer is full (some 280 small signals while the bus is stopped, as after a resume), dbus-fast 5.2
takes the BlockingIOError of `send` for the end of the connection. Where the connection has really ended, it closes the
socket and then waits for it to become writable, by a number that may belong to another one by then. A short write, on
the other hand, it handles well: it waits. So both are told to it as a write of no bytes; the end is seen by its reader.
"""

import socket
from typing import Any

from dbus_fast.aio import MessageBus


class _PatientSocket:
    """A socket whose failed writes are short ones."""

    __slots__ = ("_socket",)

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain

    def send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except OSError:
            return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def be_patient(connection: MessageBus) -> None:
    """Make a connected bus wait while the other side does not read; calls still end at their deadlines."""
    writer: Any = connection._writer  # the library offers no other place; its version is pinned
    writer.sock = _PatientSocket(writer.sock)


def waiting_messages(connection: MessageBus) -> int:
    """How many messages the other side has not taken yet."""
    writer: Any = connection._writer
    return len(writer.messages)
