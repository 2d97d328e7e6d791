"""Where the server listens: at its own address, and on sockets that are open already."""

import errno
import socket
from collections.abc import Sequence

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.port_owner import port_owner
from ollama_proxyd.edges.http_api.settings import ServerSettings

BACKLOG = 1024
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound


class Listening:
    """The places of one server; it can stop accepting for a moment on the sockets that it was given.

    Given sockets stay open: connections wait in them during a pause.
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
            site = web.SockSite(self._runner, each.dup(), backlog=BACKLOG)
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
        """`host:port`, for log lines."""
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
