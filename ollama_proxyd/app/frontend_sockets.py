"""The ports and Unix sockets of front ends, as the configuration wants them; a reload opens and closes them."""

import errno
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.edges.host.socket_file import SocketFile, socket_path
from ollama_proxyd.edges.http_api.listening import bound
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.plumbing.port_owner import port_owner
from ollama_proxyd.edges.plumbing.way import is_loopback

log = logging.getLogger(__name__)

Place: TypeAlias = int | str
"""A port, or the path of a socket."""


@dataclass(slots=True)
class Opened:
    """What listens at a place."""

    sockets: list[socket.socket] = field(default_factory=list)
    file: SocketFile | None = None

    def is_found(self) -> bool:
        """Whether clients find it: the file of a socket may have been removed."""
        return self.file is None or self.file.is_there()

    def leave(self) -> None:
        """Listen no more; a file that is there now is another's."""
        for each in self.sockets:
            each.close()

    def close(self) -> None:
        """Give it up."""
        self.leave()
        if self.file is not None:
            self.file.close()


@dataclass(slots=True)
class Prepared:
    """A configuration's front ends with the whole paths of their sockets, and what was opened for them."""

    frontends: tuple[FrontendSettings, ...]
    places: frozenset[Place]
    opened: dict[Place, Opened] = field(default_factory=dict)

    def close(self) -> None:
        """Undo the opening."""
        for each in self.opened.values():
            each.close()


class FrontendSockets:
    """What listens for front ends now; connections wait there until the server accepts them."""

    def __init__(self, environ: Mapping[str, str], server: HttpServer) -> None:
        self._environ = environ
        self._server = server
        self._opened: dict[Place, Opened] = {}

    def __len__(self) -> int:
        return len(self._opened)

    def prepare(self, config: Config) -> Prepared:
        """Open what is not open yet; raises ProxyError, and then nothing has changed."""
        frontends = tuple(self._with_whole_path(each) for each in config.frontends)
        places = [(each, place) for each in frontends for place in (each.port, each.unix_socket) if place is not None]
        prepared = Prepared(frontends, frozenset(place for _, place in places))
        try:
            for each, place in places:
                if place not in self._opened or not self._opened[place].is_found():
                    prepared.opened[place] = _open(each.name, place, config.server.host)
        except ProxyError:
            prepared.close()
            raise
        return prepared

    def _with_whole_path(self, frontend: FrontendSettings) -> FrontendSettings:
        if frontend.unix_socket is None:
            return frontend
        return replace(frontend, unix_socket=str(socket_path(frontend.unix_socket, self._environ)))

    async def put(self, prepared: Prepared) -> None:
        """Have the server accept where front ends are, and nowhere else; it knows them already."""
        for place in self._opened.keys() - prepared.places:
            await self._server.leave(place)
            self._opened.pop(place).close()
        for place, opened in prepared.opened.items():
            if place in self._opened:
                await self._server.leave(place)
                self._opened[place].leave()
            self._opened[place] = opened
            await self._server.accept(place, [each.dup() for each in opened.sockets])

    def close(self) -> None:
        """Give up all of them."""
        for each in self._opened.values():
            each.close()
        self._opened.clear()


def _open(name: str, place: Place, host: str) -> Opened:
    where = f"the front end {name}"
    if isinstance(place, str):
        try:
            file = SocketFile(Path(place))
        except ProxyError as error:
            raise ProxyError(error.kind, f"{error.message}; {where} names it", code=error.code) from error
        return Opened([file.socket], file)
    opened = Opened()
    try:
        opened.sockets = bound(socket.getaddrinfo(host, place, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        if is_loopback(host) and all(each.family != socket.AF_INET6 for each in opened.sockets):
            opened.sockets += _also_on_ipv6(place)
    except OSError as error:
        opened.close()
        owner = port_owner(place) if error.errno == errno.EADDRINUSE else None
        why = (
            f"it is taken by another program{f' ({owner})' if owner else ''}" if owner else error.strerror or str(error)
        )
        message = f"cannot listen on {host} port {place} for {where}: {why}; give it another port"
        raise ProxyError(ErrorKind.UNAVAILABLE, message, code="cannot_listen") from error
    return opened


def _also_on_ipv6(port: int) -> list[socket.socket]:
    """The other loopback, which `localhost` is first for many clients; not every machine has it."""
    try:
        return bound([(socket.AF_INET6, 0, 0, "", ("::1", port))])
    except OSError as error:
        log.debug("not listening on [::1]:%d: %s", port, error.strerror or error)
        return []
