"""The socket of a message bus: finds it by its address, logs in, and moves bytes with deadlines."""

import os
import select
import socket

from ollama_proxyd.cli.failures import Unreachable

WAIT_S = 10.0
"""How long the bus may take for what it has begun."""


class BusSocket:
    """A connection that has logged in; every failure is Unreachable."""

    def __init__(self, address: str) -> None:
        try:
            self._socket = _connected(address)
        except (OSError, ValueError) as error:
            raise Unreachable(f"the bus at {address} cannot be reached: {_cause(error)}") from None
        try:
            self._log_in()
        except Unreachable:
            self.close()
            raise

    def ready(self, wait_s: float | None) -> bool:
        """Whether something comes within this time; None waits for ever."""
        readable, _, _ = select.select([self._socket], [], [], None if wait_s is None else max(wait_s, 0))
        return bool(readable)

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except OSError as error:
                raise Unreachable(f"the bus does not answer: {_cause(error)}") from None
            if not piece:
                raise Unreachable("the bus has ended the connection")
            data += piece
        return data

    def send(self, data: bytes) -> None:
        """All of these bytes."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unreachable(f"the bus does not answer: {_cause(error)}") from None

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _log_in(self) -> None:
        """Be known by our user id, which the socket vouches for."""
        self.send(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.read(1)
        if not line.startswith(b"OK "):
            raise Unreachable(f"the bus refuses this user: {line.decode(errors='replace').strip()}")
        self.send(b"BEGIN\r\n")


def _connected(address: str) -> socket.socket:
    """The first socket of an address such as unix:path=/run/user/1000/bus,guid=…;unix:abstract=… that can be had."""
    failure: OSError | ValueError = ValueError("only unix:path= and unix:abstract= are understood")
    for each in address.split(";"):
        transport, _, said = each.partition(":")
        parts = dict(part.split("=", 1) for part in said.split(",") if "=" in part)
        name = _unescaped(parts["path"]) if "path" in parts else b"\0" + _unescaped(parts.get("abstract", ""))
        if transport != "unix" or name == b"\0":
            continue
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(WAIT_S)
        try:
            found.connect(name)
        except OSError as error:
            found.close()
            failure = error
        else:
            return found
    raise failure


def _unescaped(text: str) -> bytes:
    head, *escaped = text.split("%")
    return head.encode() + b"".join(bytes.fromhex(each[:2]) + each[2:].encode() for each in escaped)


def _cause(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
