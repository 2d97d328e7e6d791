"""The HTTP client that asks backends: pooled connections, strict deadlines, nothing followed, nothing unpacked."""

import asyncio
import errno
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.options import Option, Positive
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply, cause
from ollama_proxyd.edges.plumbing.large import LARGE_BYTES
from ollama_proxyd.edges.plumbing.patience import Patience
from ollama_proxyd.edges.plumbing.way import DIRECT, Way

KEEP_ALIVE_S = 4.0
"""How long an idle connection is kept: llama-server closes after 5 s, and a race with it costs more than a new one."""

CUT_OFF_RETRY_S = 5.0
MOST_HEADER_BYTES = 64 * 1024
"""Content policies and cookies of cloud services come near aiohttp's 8 kB."""

PIECE_BYTES = 256 * 1024

_opened: ContextVar[bool] = ContextVar("a new connection was opened for the request under way")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a backend; nothing bounds the whole of an answer."""

    connect_s: Annotated[Positive, Option("upstream.", "Timeout in seconds for the connection.")] = 2.0
    first_byte_s: Annotated[
        Positive, Option("upstream.", "Timeout in seconds until the answer begins, model loading included.")
    ] = 300.0
    """Without streaming it covers the whole generation."""
    idle_s: Annotated[Positive, Option("upstream.", "Timeout in seconds between two pieces of an answer.")] = 120.0
    probe_s: Annotated[Positive, Option("upstream.", "Timeout in seconds for each request of a health check.")] = 3.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `who` names the server in errors ("backend npu at http://…")."""

    method: str
    url: URL
    who: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterable[bytes] | None = None
    first_byte_s: float | None = None
    """Instead of the client's own timeout."""
    pause_s: float | None = None
    """The longest pause within the answer, where that is shorter than the client's own."""
    idle_s: float | None = None
    """The longest pause, where it is to be this whatever else is said."""
    way: Way = DIRECT
    keeps: bool = True
    """Whether its connection is kept for the next request. An unused one wakes the machine once more."""


class _Connector(aiohttp.TCPConnector):
    """Connections without a limit per host; notes when a request needed a new one."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> ResponseHandler:
        _opened.set(True)
        due_s = asyncio.get_running_loop().time() + (timeout.sock_connect or 0.0)
        try:
            async with Patience(due_s):
                return await super()._create_connection(req, traces, aiohttp.ClientTimeout(total=None))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error


class HttpClient:
    """Owns the connections to all backends; made inside a running loop, closed once."""

    def __init__(self, timeouts: Timeouts | None = None, limits: Limits | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        """How long is waited from the next request on; may be replaced at any time."""
        self._limits = limits or Limits()
        self._open: set[Reply] = set()
        self._waiting: set[Patience] = set()
        self._cut_off_because = self._cut_off_code = ""
        self._retired: list[aiohttp.ClientSession] = []
        self._pooled, self._fresh = self._sessions()

    def _sessions(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        """One that keeps connections for the next request, and one that makes a new one for each."""
        kept = _Connector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        return self._session(kept), self._session(_Connector(limit=0, force_close=True))

    def _session(self, connector: _Connector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_field_size=MOST_HEADER_BYTES,
            headers={"User-Agent": f"ollama-proxyd/{__version__}", "Accept-Encoding": "identity"},
        )

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncGenerator[Reply, None]:
        """Send a request; on leaving before the answer's end the connection is closed at once."""
        wait_s = self.timeouts.first_byte_s if call.first_byte_s is None else call.first_byte_s
        due_s = asyncio.get_running_loop().time() + wait_s
        try:
            async with Patience(due_s) as patience:
                self._waiting.add(patience)
                try:
                    response = await self._send(call)
                finally:
                    self._waiting.discard(patience)
        except TimeoutError as error:
            if patience.was_ended:
                raise self._cut_off(call.who) from None
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, self._silence(error, call.who, wait_s)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _meaning(error, call.who) from error
        reply = Reply(response, call.who, due_s, self._idle_s(call), self._limits)
        self._open.add(reply)
        try:
            _refuse_detours(response, call.who)
            yield reply
        finally:
            self._open.discard(reply)
            reply.end()

    async def _send(self, call: Call) -> aiohttp.ClientResponse:
        if not call.keeps:
            return await self._request(self._fresh, call)
        _opened.set(False)
        try:
            return await self._request(self._pooled, call)
        except aiohttp.ClientConnectionError as error:
            # A kept connection can be closed by the server at the moment of its reuse. Nothing was received, and
            # nothing is lost by asking once more on a new one; an answer that has begun never comes here.
            if _opened.get() or isinstance(error, TimeoutError) or _has_begun(error):
                raise
        return await self._request(self._fresh, call)

    async def _request(self, session: aiohttp.ClientSession, call: Call) -> aiohttp.ClientResponse:
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
            ssl=call.way.tls,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_s),
        )

    def _idle_s(self, call: Call) -> float:
        """The longest pause within an answer; a question with a deadline of its own bears none beyond that."""
        if call.idle_s is not None:
            return call.idle_s
        bounds = (self.timeouts.idle_s, call.first_byte_s, call.pause_s)
        return min([each for each in bounds if each is not None])

    def _silence(self, error: TimeoutError, who: str, wait_s: float) -> str:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"{who} did not accept a connection within {self.timeouts.connect_s:g} s"
        return f"{who} did not begin to answer within {wait_s:g} s"

    def cut_off(self, why: str, code: str = "cut_off") -> None:
        """End all that is under way, with the reason."""
        self._cut_off_because, self._cut_off_code = why, code
        for reply in tuple(self._open):
            reply.cut_off(self._cut_off(reply.who))
        for patience in tuple(self._waiting):
            patience.end()

    def _cut_off(self, who: str) -> ProxyError:
        message = f"the answer of {who} was cut off: {self._cut_off_because}; ask again"
        return ProxyError(ErrorKind.UNAVAILABLE, message, retry_after_s=CUT_OFF_RETRY_S, code=self._cut_off_code)

    async def renew(self) -> None:
        """Reuse no kept connection: after a sleep they look alive and are not. What is under way goes on."""
        self._retired += [self._pooled, self._fresh]
        self._pooled, self._fresh = self._sessions()
        if not self._open and not self._waiting:
            await self._close_retired()

    async def _close_retired(self) -> None:
        while self._retired:
            await self._retired.pop().close()

    async def close(self) -> None:
        """Close every connection; answers that still come in are cut off."""
        for reply in tuple(self._open):
            reply.cut_off(aiohttp.ClientConnectionError("the proxy stopped waiting for the rest"))
        await self._pooled.close()
        await self._fresh.close()
        await self._close_retired()


async def _pieces(body: bytes) -> AsyncGenerator[memoryview, None]:
    """A large body, for aiohttp would copy it as a whole behind the head in one step."""
    view = memoryview(body)
    for at in range(0, len(body), PIECE_BYTES):
        yield view[at : at + PIECE_BYTES]
        await asyncio.sleep(0)


def _has_begun(error: aiohttp.ClientConnectionError) -> bool:
    """True when the server broke off inside the head of its answer rather than before it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _refuse_detours(response: aiohttp.ClientResponse, who: str) -> None:
    if 300 <= response.status < 400:
        target = sanitize_line(response.headers.get("Location", "nowhere"))
        message = f"{who} answered with a redirect ({response.status} to {target}), and redirects are not followed"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=response.status)
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in {"identity", ""}:
        message = f"{who} compressed its answer ({sanitize_line(packing)}) although it was asked not to"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=response.status)


def _meaning(error: aiohttp.ClientError | OSError, who: str) -> ProxyError:
    """What it means for routing that a request could not be sent."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        message = "the proxy has no more file descriptors for connections; raise its limit (ulimit -n, LimitNOFILE=)"
        return ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=1.0)
    is_unreachable = isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError)
    code = UNREACHABLE if is_unreachable else None
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} {_failure(error)}", code=code)


def _failure(error: aiohttp.ClientError | OSError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"has a certificate that is not trusted ({_why_not_trusted(error)}); name its authority in ca_file"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"does not speak TLS as we do ({_tls_words(error)}); check whether its endpoint is http or https"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"cannot be reached, because its proxy {error.host}:{error.port} cannot: {cause(error)}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"cannot be reached, because its proxy refused it ({error.status} {sanitize_line(error.message)})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {cause(error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"answered something that is not HTTP: {cause(error)}"
    return f"failed: {cause(error)}"


def _why_not_trusted(error: aiohttp.ClientConnectorCertificateError) -> str:
    fault = error.certificate_error
    said = fault.verify_message if isinstance(fault, ssl.SSLCertVerificationError) else str(fault)
    return sanitize_line(said).rstrip(".") or "no reason was given"


def _tls_words(error: aiohttp.ClientSSLError) -> str:
    fault = error.os_error
    reason = fault.reason if isinstance(fault, ssl.SSLError) else None
    return (reason or type(fault).__name__).lower().replace("_", " ")
