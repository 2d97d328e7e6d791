"""The port for paired machines: TLS that lets in nobody else, with bounds for those who try."""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection

from ollama_proxyd.edges.plumbing.tcp import LATER, notice_loss
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

BACKLOG = 64
HANDSHAKE_S = 5.0
MOST_HANDSHAKES = 32
MOST_OF_ADDRESS = 4
"""So many connections of one address, and of all, may be agreeing on TLS at the same time."""
MOST_CONNECTIONS = 128
ACCEPT_AGAIN_S = 1.0


class Door:
    """What accepts connections of paired machines.

    make: the protocol for a connection. connections: how many are open.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        connections: Callable[[], int],
    ) -> None:
        self._make = make
        self._context = context
        self._connections = connections
        self._agreeing: Counter[str] = Counter()
        self._listeners: dict[str, socket.socket] = {}
        self._tasks = Tasks("house-door")

    def open(self, port: int, interfaces: Collection[str] = ()) -> None:
        """Listen at each of these interfaces, or everywhere where none is named; raises OSError.

        An interface that is not there is left out; call again when interfaces have come.
        """
        for name in interfaces or [""]:
            if name not in self._listeners:
                try:
                    listener = _listener(port, name)
                except OSError as error:
                    if name and not _is_there(name):
                        log.info("not listening for paired machines at %s: %s", name, error.strerror or error)
                        continue
                    raise
                self._listeners[name] = listener
                self._tasks.start(f"accept.{name or 'all'}", self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("no connection of a paired machine can be accepted: %s", error.strerror or error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            who = str(address[0])
            if (
                self._agreeing.total() >= MOST_HANDSHAKES
                or self._agreeing[who] >= MOST_OF_ADDRESS
                or self._connections() >= MOST_CONNECTIONS
            ):
                connection.close()
                continue
            self._agreeing[who] += 1
            self._tasks.start(f"greet.{connection.fileno()}", self._greet(connection, who))

    async def _greet(self, connection: socket.socket, who: str) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        notice_loss(connection, *LATER)
        try:
            await loop.connect_accepted_socket(
                self._make, connection, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError as error:  # SSLError is one
            log.debug("a connection of %s is refused: %s", who, error)
            connection.close()
        finally:
            self._agreeing[who] -= 1
            if not self._agreeing[who]:
                del self._agreeing[who]

    async def close(self) -> None:
        """Accept no more; connections stay."""
        await self._tasks.close()
        for each in self._listeners.values():
            each.close()
        self._listeners.clear()


def _listener(port: int, interface: str) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    listener = socket.socket(socket.AF_INET6 if both else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if interface:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        listener.bind(("::" if both else "", port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_there(interface: str) -> bool:
    return any(name == interface for _, name in socket.if_nameindex())
