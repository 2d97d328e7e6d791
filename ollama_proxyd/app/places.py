"""Where the daemon is found: on sockets that the service manager holds, else on its own."""

import logging
import socket
from collections.abc import Mapping

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.host import given_sockets
from ollama_proxyd.edges.host.socket_file import SocketFile, socket_path
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings

log = logging.getLogger(__name__)


class Places:
    """The sockets beside the server's own port, from the start to `close`."""

    def __init__(self, environ: Mapping[str, str], settings: ServerSettings) -> None:
        self._environ = environ
        self._settings = settings
        self._given: tuple[socket.socket, ...] = ()
        self._file: SocketFile | None = None

    @property
    def is_activated(self) -> bool:
        """Whether the service manager holds the sockets and starts the daemon when somebody connects."""
        return bool(self._given)

    @property
    def idle_exit_s(self) -> float | None:
        """After how long without use the daemon may end, None for never."""
        if self._settings.idle_exit_s is not None and not self._given:
            log.info(
                "server.idle_exit_s is ignored, because nothing would start the daemon again: its sockets are its own "
                "and not those of a socket unit"
            )
            return None
        return self._settings.idle_exit_s

    def open(self) -> None:
        """Take what is given, or make the socket file; raises ProxyError."""
        self._given = given_sockets.take(self._environ)
        if self._settings.unix_socket is None:
            return
        if self._given:
            log.info("server.unix_socket is left to the socket unit, which holds the daemon's sockets")
        else:
            self._file = SocketFile(socket_path(self._settings.unix_socket, self._environ))

    async def listen(self, server: HttpServer) -> None:
        """Have the server accept there; raises ProxyError."""
        try:
            await server.start(self._given, () if self._file is None else (self._file.socket,))
        except ProxyError:
            self.close()
            raise

    def close(self) -> None:
        """Give up the sockets; those of the service manager go on listening there."""
        if self._file is not None:
            self._file.close()
        for each in self._given:
            each.close()
