"""Where the daemon is found: on sockets that the service manager holds, else on its own."""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.host import socket_activation
from ollama_proxyd.edges.host.control_socket import control_socket
from ollama_proxyd.edges.host.socket_file import SocketFile, make_private_folder, socket_path
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings

log = logging.getLogger(__name__)


class Listeners:
    """The sockets beside the server's own port, from the start to `close`."""

    def __init__(self, environ: Mapping[str, str], settings: ServerSettings) -> None:
        self._environ = environ
        self._settings = settings
        self._given: tuple[socket.socket, ...] = ()
        self._files: list[SocketFile] = []

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

    async def open(self, server: HttpServer) -> None:
        """Take the given sockets and open the others, in which connections wait; raises ProxyError."""
        self._given = socket_activation.take(self._environ)
        try:
            self._open_files()
            if not self._given:
                await server.bind()
        except ProxyError:
            self.close()
            raise

    def _open_files(self) -> None:
        self._open_control_socket()
        if self._settings.unix_socket is None:
            return
        if self._given:
            log.info("server.unix_socket is ignored, because the socket unit names the daemon's sockets")
            return
        path = socket_path(self._settings.unix_socket, self._environ)
        if path not in {each.path for each in self._files}:
            self._open_configured_socket(path)

    def _open_control_socket(self) -> None:
        """Open the socket that ollama-proxyctl uses; without it the daemon still serves over TCP."""
        path = control_socket(self._environ)
        if path is None:
            log.info("no control socket, because XDG_RUNTIME_DIR is not set; ollama-proxyctl uses TCP")
        elif path not in {each.getsockname() for each in self._given if each.family == socket.AF_UNIX}:
            try:
                make_private_folder(Path(path).parent)
                self._files.append(SocketFile(Path(path)))
            except ProxyError as error:
                log.warning("%s; reach this daemon with ollama-proxyctl --url", error.message)

    def _open_configured_socket(self, path: Path) -> None:
        try:
            self._files.append(SocketFile(path))
        except ProxyError as error:
            message = f"{error.message}; server.unix_socket in the configuration names it"
            raise ProxyError(error.kind, message, code=error.code) from error

    async def listen(self, server: HttpServer) -> None:
        """Have the server accept there; raises ProxyError."""
        try:
            await server.start(self._given, [each.socket for each in self._files])
        except ProxyError:
            self.close()
            raise

    def close(self) -> None:
        """Give up the sockets; those of the service manager go on listening there."""
        for file in self._files:
            file.close()
        for each in self._given:
            each.close()
