"""The client for what is not plain: TLS, proxies, passwords in addresses, bodies that arrive while they are sent."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

from ollama_proxyd.edges.plumbing.lean_aiohttp import aiohttp  # isort: skip - before all else of aiohttp
from aiohttp.client_proto import ResponseHandler

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.text import LARGE_BYTES, sanitize_line
from ollama_proxyd.edges.plumbing.call import (
    KEEP_ALIVE_S,
    MOST_HEADER_BYTES,
    OWN_HEADERS,
    PIECE_BYTES,
    BrokenOffError,
    Call,
    ConnectTimeoutError,
    Take,
    cause,
    failed,
)
from ollama_proxyd.edges.plumbing.patience import Patience
from ollama_proxyd.edges.plumbing.tcp import SOON, notice_loss, socket_to
from ollama_proxyd.edges.plumbing.unix_socket import connected
from ollama_proxyd.edges.plumbing.watch import Watch
from ollama_proxyd.edges.plumbing.way import Pinned

_opened: ContextVar[bool] = ContextVar("a new connection was opened for the request under way")
_socket: ContextVar[str | None] = ContextVar("the Unix socket of the server that is asked", default=None)


class _Answer:
    """See call.Answer."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def is_over(self) -> bool:
        return self._response.content.at_eof()

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except aiohttp.ClientPayloadError as error:
            if left := self._response.content._read_nowait(-1):
                return left
            raise BrokenOffError from error
        except aiohttp.ClientError as error:
            raise BrokenOffError from error

    async def pour(self, take: Take) -> bool:
        while piece := await self.read():
            if not take(piece):
                return False
        return True

    def fail(self, error: Exception) -> None:
        self._response.content.set_exception(error)
        self._response.close()

    def close(self) -> None:
        self._response.close()


class _Connector(aiohttp.TCPConnector):
    """Connections without a limit per host; notes when a request needed a new one."""

    def __init__(self, watch: Watch, **options: Any) -> None:
        super().__init__(limit=0, socket_factory=socket_to, **options)
        self._watch = watch

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> ResponseHandler:
        _opened.set(True)
        due_s = self._watch.loop.time() + (timeout.sock_connect or 0.0)
        try:
            async with Patience(due_s, self._watch):
                if (path := _socket.get()) is not None:
                    return await self._behind(path, req)
                made = await super()._create_connection(req, traces, aiohttp.ClientTimeout(total=None))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        if isinstance(req.ssl, Pinned) and made.transport is not None:
            notice_loss(made.transport.get_extra_info("socket"), *SOON)
        return made

    async def _behind(self, path: str, req: aiohttp.ClientRequest) -> ResponseHandler:
        try:
            return (await self._loop.create_unix_connection(self._factory, sock=await connected(path)))[1]
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error


class GeneralClient:
    """A `call.Client` of aiohttp's; made inside a running loop, closed once."""

    def __init__(self, watch: Watch) -> None:
        self._pooled = _session(_Connector(watch, keepalive_timeout=KEEP_ALIVE_S))
        self._fresh = _session(_Connector(watch, force_close=True))
        """Makes a new connection for each request."""

    async def ask(self, call: Call, connect_s: float) -> _Answer:
        """See call.Client."""
        try:
            return _Answer(await self._send(call, connect_s))
        except aiohttp.ConnectionTimeoutError as error:
            raise ConnectTimeoutError from error
        except (aiohttp.ClientError, OSError) as error:
            raise _meaning(error, call.who) from error

    async def _send(self, call: Call, connect_s: float) -> aiohttp.ClientResponse:
        _socket.set(call.way.socket)
        if not call.keeps or call.way.socket is not None:  # kept connections are found by their host alone
            return await _request(self._fresh, call, connect_s)
        _opened.set(False)
        try:
            return await _request(self._pooled, call, connect_s)
        except aiohttp.ClientConnectionError as error:
            # A kept connection can be closed by the server at the moment of its reuse. Nothing was received, and
            # nothing is lost by asking once more on a new one; an answer that has begun never comes here.
            if _opened.get() or isinstance(error, TimeoutError) or _has_begun(error):
                raise
        return await _request(self._fresh, call, connect_s)

    async def close(self) -> None:
        """See call.Client."""
        await self._pooled.close()
        await self._fresh.close()


def _session(connector: _Connector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_field_size=MOST_HEADER_BYTES,
        headers=OWN_HEADERS,
    )


async def _request(session: aiohttp.ClientSession, call: Call, connect_s: float) -> aiohttp.ClientResponse:
    tls = call.way.tls
    if tls is True and "https" in {call.url.scheme, call.way.proxy and call.way.proxy.scheme}:
        tls = await asyncio.to_thread(_of_the_system)
    data: bytes | AsyncIterable[bytes | memoryview] | None = call.body
    headers = call.headers
    if isinstance(call.body, bytes) and len(call.body) >= LARGE_BYTES:
        data, headers = _pieces(call.body), {**call.headers, "Content-Length": str(len(call.body))}
    return await session.request(
        call.method,
        call.url,
        data=data,
        headers=headers,
        allow_redirects=False,
        proxy=call.way.proxy,
        ssl=tls,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
    )


@cache
def _of_the_system() -> ssl.SSLContext:
    """Trusts the system's certificate authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context


async def _pieces(body: bytes) -> AsyncGenerator[memoryview, None]:
    """A large body, for aiohttp would copy it as a whole behind the head in one step."""
    view = memoryview(body)
    for at in range(0, len(body), PIECE_BYTES):
        yield view[at : at + PIECE_BYTES]
        await asyncio.sleep(0)


def _has_begun(error: aiohttp.ClientConnectionError) -> bool:
    """True when the server broke off inside the head of its answer rather than before it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _meaning(error: aiohttp.ClientError | OSError, who: str) -> ProxyError:
    """What it means for routing that a request could not be sent."""
    if (words := _failure(error)) is not None:
        return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} {words}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return failed(who, error.os_error, connecting=True)
    if isinstance(error, OSError):
        return failed(who, error, connecting=False)
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} failed: {cause(error)}")


def _failure(error: aiohttp.ClientError | OSError) -> str | None:
    """What is said of the failures that only this client knows."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _distrust(error)
    if isinstance(error, aiohttp.ClientSSLError):
        return _other_tls(cause(error.os_error))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"cannot be reached, because its proxy {error.host}:{error.port} cannot: {cause(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError) and error.ssl and error.errno is None:
        return "closed the connection before TLS was agreed on"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"cannot be reached, because its proxy refused it ({error.status} {sanitize_line(error.message)})"
    return _answered(error)


def _answered(error: aiohttp.ClientError | OSError) -> str | None:
    """The same of a server that was reached."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"answered something that is not HTTP: {_first_line(error)}"
    return None


def _other_tls(words: str) -> str:
    if _ALERT in words:
        return f"refused our TLS ({words})"
    return f"does not speak TLS as we do ({words}); check whether its endpoint is http or https"


_ALERT = " alert "
"""In OpenSSL's words for what the other side says in TLS (RFC 8446, 6)."""
_UNKNOWN_AUTHORITY = "name its authority in ca_file"
_ADVICE = {
    9: "check the clock of this machine",
    10: "have it renewed, or check the clock of this machine",
    62: "ask for it by a name that its certificate has",
    64: "ask for it by a name that its certificate has",
}
"""By OpenSSL's X509_V_ERR: not yet valid, expired, another host, another address (openssl/x509_vfy.h)."""


def _distrust(error: aiohttp.ClientConnectorCertificateError) -> str:
    """Why a certificate is not trusted, and what helps."""
    fault = error.certificate_error
    said, code = str(fault), 0
    if isinstance(fault, ssl.SSLCertVerificationError):
        said, code = fault.verify_message, fault.verify_code
    why = sanitize_line(said).rstrip(".") or "no reason was given"
    return f"has a certificate that is not trusted ({why}); {_ADVICE.get(code, _UNKNOWN_AUTHORITY)}"


def _first_line(error: aiohttp.ClientResponseError) -> str:
    """The words of aiohttp's parser without its drawing of where it stopped."""
    return error.message.partition("\n")[0].rstrip(": ")
