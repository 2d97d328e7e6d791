"""Sockets that listen, and what takes the connections that come to them."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiohttp import web

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
MOST_AT_ONCE: Final = 256
"""Connections that are taken before the loop looks at others again."""
_LACKING: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
PAUSE_S: Final = 1.0
"""How long is waited where the system has no file or memory for a further one, as asyncio does."""


def bound(addresses: Iterable[tuple[int, int, int, str, tuple[object, ...]]]) -> list[socket.socket]:
    """A listening socket for each address, as getaddrinfo(3) gives them; raises OSError, and then none is open.

    A name may have an address twice, or one of a family that the kernel lacks.
    """
    made: list[socket.socket] = []
    lacking: OSError | None = None
    try:
        for family, address in dict.fromkeys([(each[0], each[-1]) for each in addresses]):
            try:
                made.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                lacking = error
            else:
                made[-1].setblocking(False)
    except OSError:
        for each in made:
            each.close()
        raise
    if lacking is not None and not made:
        raise lacking
    return made


def on_ipv6(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """The other loopback too, since `localhost` is ::1 first for many clients (ollama-js#102)."""
    if any(each.getsockname()[0] == "::1" for each in sockets):
        return []
    port = sockets[0].getsockname()[1]
    try:
        return bound([(socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", port))])
    except OSError as error:
        level = logging.WARNING if error.errno == errno.EADDRINUSE else logging.DEBUG
        log.log(level, "not listening on [::1]:%d: %s", port, error.strerror or error)
        return []


class Site(web.BaseSite):
    """A place at which a runner's server accepts; stopping closes the socket."""

    def __init__(self, runner: web.AppRunner, listener: socket.socket) -> None:
        super().__init__(runner)
        self._listener = listener

    @property
    def name(self) -> str:
        """Where that is."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Accept from now on."""
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = _Acceptor(server, self._listener)  # type: ignore[assignment]

    async def stop(self) -> None:
        """Accept no more; connections that were taken are open by then, and count as such."""
        accepting = self._server
        await super().stop()
        if accepting is not None:
            await accepting.wait_closed()


class _Acceptor:
    """Takes all connections that wait, in place of asyncio's server (of which aiohttp calls these methods).

    libuv takes one in a turn of its loop since 1.45, and a turn serves all who ask: beside 200 busy clients a newcomer
    waited 10 s.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], listener: socket.socket) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._under_way = set[asyncio.Task[None]]()
        self._listener = listener
        self.sockets = (listener,)
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._loop.add_reader(listener, self._accept)

    def _accept(self) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be accepted for %g s: %s", PAUSE_S, error.strerror or error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_S, self._go_on)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._take(connection))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:  # it is gone already
            connection.close()

    def _go_on(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_closed(self) -> None:
        """Until the connections that were taken are open."""
        if self._under_way:
            await asyncio.wait(self._under_way)
