"""The connections to plain `http://` servers: kept for the next request, made anew where none is left."""

import asyncio
from collections import defaultdict
from functools import partial
from ipaddress import ip_address
from socket import SOCK_STREAM

from aiohappyeyeballs import start_connection

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.plumbing.call import KEEP_ALIVE_S, Call, ConnectTimeoutError, failed
from ollama_proxyd.edges.plumbing.patience import Patience
from ollama_proxyd.edges.plumbing.unix_socket import connected
from ollama_proxyd.edges.plumbing.upstream.connection import Connection
from ollama_proxyd.edges.plumbing.upstream.head import NotHttpError, request_head
from ollama_proxyd.edges.plumbing.watch import Watch

_NEXT_ADDRESS_S = 0.25
"""After which the next address of a name is tried beside the first one (RFC 8305, section 8)."""

Origin = tuple[str, int]
"""Host and port, or the path of a Unix socket and 0."""


def takes(call: Call) -> bool:
    """Whether a call is plain: without TLS, proxy or password in its address, and with a body that is there."""
    url = call.url
    is_direct = url.scheme == "http" and call.way.proxy is None and url.raw_user is None
    return is_direct and (call.body is None or isinstance(call.body, bytes))


class Pool:
    """Sends requests that `takes` lets pass; made inside a running loop, closed once."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loop = watch.loop
        self._idle: defaultdict[Origin, list[tuple[float, Connection]]] = defaultdict(list)
        """With the moment until which each is kept; the last one is the freshest."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, call: Call, connect_s: float) -> Connection:
        """See call.Client.

        A kept connection can be closed by the server at the moment of its reuse. Where nothing was received, nothing
        is lost by asking once more on a new one.
        """
        origin = (call.url.host or "", call.url.port or 80) if call.way.socket is None else (call.way.socket, 0)
        body = call.body if isinstance(call.body, bytes) else b""
        head = request_head(call.method, call.url, call.headers, len(body), keeps=call.keeps)
        is_head = call.method == "HEAD"
        try:
            if call.keeps and (connection := self._kept(origin)) is not None:
                try:
                    await connection.ask(head, body, is_head=is_head, keeps=True)
                except (EOFError, OSError):
                    if connection.has_received:
                        raise
                else:
                    return connection
            connection = await self._connected(origin, call.who, connect_s)
            await connection.ask(head, body, is_head=is_head, keeps=call.keeps)
        except ConnectTimeoutError:
            raise
        except (EOFError, NotHttpError, OSError) as error:
            raise _failure(call.who, error) from error
        return connection

    def _kept(self, origin: Origin) -> Connection | None:
        idle, now_s = self._idle[origin], self._loop.time()
        while idle:
            until_s, connection = idle.pop()
            if connection.is_open and now_s < until_s:
                return connection
            connection.abort()
        return None

    async def _connected(self, origin: Origin, who: str, connect_s: float) -> Connection:
        make = partial(Connection, partial(self._keep, origin))
        try:
            async with Patience(self._loop.time() + connect_s, self._watch):
                if origin[1] == 0:
                    return (await self._loop.create_unix_connection(make, sock=await connected(origin[0])))[1]
                if _is_address(origin[0]):
                    return (await self._loop.create_connection(make, *origin))[1]
                found = await self._loop.getaddrinfo(*origin, type=SOCK_STREAM)
                first = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                return (await self._loop.create_connection(make, sock=first))[1]
        except TimeoutError as error:
            if error.errno is not None:
                raise failed(who, error, connecting=True) from error
            raise ConnectTimeoutError from error
        except OSError as error:
            raise failed(who, error, connecting=True) from error

    def _keep(self, origin: Origin, connection: Connection) -> None:
        if self._is_closed:
            connection.abort()
            return
        self._idle[origin].append((self._loop.time() + KEEP_ALIVE_S, connection))
        if self._timer is None:
            self._timer = self._loop.call_later(KEEP_ALIVE_S, self._drop_old)

    def _drop_old(self) -> None:
        """Close what was not used again in time, and look again when that may be so of the next."""
        self._timer = None
        now_s = self._loop.time()
        for origin, idle in tuple(self._idle.items()):
            for until_s, connection in idle:
                if until_s <= now_s:
                    connection.abort()
            fresh = [(until_s, each) for until_s, each in idle if each.is_open]
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]
        if self._idle:
            self._timer = self._loop.call_at(min(each[0][0] for each in self._idle.values()), self._drop_old)

    async def close(self) -> None:
        """See call.Client; connections in use are closed when their answers end."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for idle in self._idle.values():
            for _, connection in idle:
                connection.abort()
        self._idle.clear()


def _failure(who: str, error: EOFError | NotHttpError | OSError) -> ProxyError:
    """What the client is told where no answer came."""
    if isinstance(error, OSError):
        return failed(who, error, connecting=False)
    if isinstance(error, NotHttpError):
        return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} answered something that is not HTTP: {error}")
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} closed the connection without an answer")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
