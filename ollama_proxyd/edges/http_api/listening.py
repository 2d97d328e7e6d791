"""Where the server listens: at its own address, on a socket file, or on sockets that somebody opened before."""

import asyncio
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.port_owner import port_owner
from ollama_proxyd.edges.http_api.settings import ServerSettings

BACKLOG = 1024
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound


class _FileSite(web.BaseSite):
    """A Unix socket that is open already, which the library has no site for."""

    def __init__(self, runner: web.AppRunner, opened: socket.socket, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._socket = opened

    @property
    def name(self) -> str:
        """How the library calls it."""
        return f"unix:{self._socket.getsockname()}"

    async def start(self) -> None:
        """Accept on it."""
        await super().start()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        # From Python 3.13 on the file would go with the server, and with it what a socket unit still listens on.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await loop.create_unix_server(server, sock=self._socket, backlog=self._backlog, **keep)


class Listening:
    """The places of one server; it can stop accepting for a moment on the sockets that it was given.

    Whoever gives sockets keeps them: connections that come while nobody accepts wait in them.
    """

    def __init__(self, runner: web.AppRunner, settings: ServerSettings) -> None:
        self._runner = runner
        self._settings = settings
        self._given: tuple[socket.socket, ...] = ()
        self._sites: list[web.BaseSite] = []

    async def begin(self, given: Sequence[socket.socket] = (), besides: Sequence[socket.socket] = ()) -> None:
        """Accept on `given`, or at the configured address where that is empty, and on `besides`."""
        self._given = (*given, *besides)
        if not given:
            site = web.TCPSite(self._runner, self._settings.host, self._settings.port, backlog=BACKLOG)
            try:
                await site.start()
            except OSError as error:
                raise _cannot_listen(self._settings, error) from error
            self._sites.append(site)
        await self.go_on()

    async def pause(self) -> None:
        """Accept nothing any more."""
        for site in self._sites:
            await site.stop()
        self._sites.clear()

    async def go_on(self) -> None:
        """Accept on the given sockets."""
        for each in self._given:
            kind = _FileSite if each.family == socket.AF_UNIX else web.SockSite
            site = kind(self._runner, each.dup(), backlog=BACKLOG)
            await site.start()
            self._sites.append(site)

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server; the configured place before it has begun."""
        places = [each for each in self._runner.addresses if isinstance(each, tuple)]
        if places:
            name, port = places[0][:2]
            own = self._settings.host if not self._given else name  # a name says more than what it stands for
            return _url(own, port)
        files = [each for each in self._runner.addresses if isinstance(each, str)]
        return f"unix:{files[0]}" if files else _url(self._settings.host, self._settings.port)

    @property
    def place(self) -> str:
        """The same in few words."""
        return self.url.removeprefix("http://")


def _url(host: str, port: int) -> str:
    shown = EVERYWHERE.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _cannot_listen(settings: ServerSettings, error: OSError) -> ProxyError:
    """The sentence for a person who starts the server."""
    port, host, code = settings.port, settings.host, "cannot_listen"
    if error.errno == errno.EADDRINUSE:
        owner, code = port_owner(port), "port_taken"
        taken = f"port {port} is taken by another program{f' ({owner})' if owner else ''}"
        message = f"{taken}; end that program, or choose another port with server.http_port in the configuration"
    elif error.errno == errno.EACCES:
        code = "port_needs_rights"
        message = f"port {port} needs rights that this program lacks; choose one above 1023"
    else:
        message = f"cannot listen on {host} port {port}: {error.strerror or error}"
    return ProxyError(ErrorKind.UNAVAILABLE, message, code=code)
