"""Lines of log for a syslog daemon beside standard error: here by its socket, or elsewhere by UDP."""

import logging
import os
from ipaddress import ip_address
from logging.handlers import SysLogHandler
from socket import AF_UNIX, SOCK_DGRAM
from socket import socket as Socket  # noqa: N812 - a field has its name
from typing import Annotated, Final, TypeAlias

from ollama_proxyd.core.options import Like
from ollama_proxyd.edges.host.journal import IDENTIFIER, PrintableFormatter

SyslogAddress: TypeAlias = Annotated[
    str,
    Like(
        r"^(/[^\0]+|([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})$",
        "a socket such as /dev/log, or an address such as 192.0.2.1:514",
    ),
]
MOST_BYTES: Final = 960
"""RFC 3164, section 4.1: a packet has at most 1024 bytes, with what stands before the line."""
MOST_PORT: Final = 65535


class _OneLine(PrintableFormatter):
    """A record is one line, since each line would be one of its own there."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, bounded."""
        line = " ".join(super().format(record).splitlines())
        return line.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore")


class Syslog(SysLogHandler):
    """Waits for nobody: what the daemon does not take at once is lost there."""

    socket: Socket | None

    def createSocket(self) -> None:  # noqa: N802 - the name that logging calls
        """Have a socket that never waits; each line finds its way anew, so a daemon may come later, or again."""
        if isinstance(self.address, str):
            self.socket, self.unixsocket, self.socktype = Socket(AF_UNIX, SOCK_DGRAM), False, SOCK_DGRAM
        else:
            super().createSocket()
        if self.socket is not None:
            self.socket.setblocking(False)

    def look(self) -> None:
        """Raise OSError where nobody listens at a socket now."""
        if isinstance(self.address, str):
            with Socket(AF_UNIX, SOCK_DGRAM) as probe:
                probe.connect(self.address)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Standard error has the line."""


def place_of(address: str) -> str | tuple[str, int]:
    """The path of a socket, or an IP address and its port; raises ValueError."""
    if address.startswith("/"):
        return address
    host, _, port = address.rpartition(":")
    if not 0 < int(port) <= MOST_PORT:
        raise ValueError(port)
    return str(ip_address(host.strip("[]"))), int(port)


def syslog_handler(address: str) -> Syslog:
    """Sends there; raises OSError where this machine has no way there."""
    handler = Syslog(place_of(address))
    handler.ident, handler.append_nul = f"{IDENTIFIER}[{os.getpid()}]: ", False
    handler.setFormatter(_OneLine("%(message)s"))
    return handler
