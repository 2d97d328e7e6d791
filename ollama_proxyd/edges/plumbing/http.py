"""The HTTP client that asks backends: pooled connections, strict deadlines, nothing followed, nothing unpacked."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ollama_proxyd import __version__
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.wording import one_line

KEEP_ALIVE_S = 4.0
"""How long an idle connection is kept: llama-server closes after 5 s, and a race with it costs more than a new one."""

_opened: ContextVar[bool] = ContextVar("a new connection was opened for the request under way")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a backend, in seconds; nothing bounds the whole of an answer.

    connect_s: until it accepts a connection. first_byte_s: from sending a request until its answer begins, which
    covers loading a model and, where nothing is streamed, the whole generation. idle_s: between two pieces of an
    answer. probe_s: for each question of a health check.
    """

    connect_s: float = 2.0
    first_byte_s: float = 300.0
    idle_s: float = 120.0
    probe_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a backend's words is held in memory: of a whole answer, and of an error."""

    body_bytes: int = 64 * 1024 * 1024
    error_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `who` is whom it asks, as an error's sentence begins ("backend npu at http://…")."""

    method: str
    url: URL
    who: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    first_byte_s: float | None = None
    """Instead of the client's own timeout."""


class _Connector(aiohttp.TCPConnector):
    """Connections without a limit per host; notes when a request needed a new one."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> ResponseHandler:
        _opened.set(True)
        return await super()._create_connection(req, traces, timeout)


class Reply:
    """A backend's answer whose head has come; `read` gives the body as it comes.

    One timer watches all the waits of an answer: setting a deadline for each piece would cost more than reading it.
    """

    __slots__ = (
        "_due_s",
        "_idle_s",
        "_is_begun",
        "_is_waiting",
        "_limits",
        "_loop",
        "_response",
        "_timer",
        "content_type",
        "headers",
        "status",
        "who",
    )

    def __init__(self, response: aiohttp.ClientResponse, who: str, due_s: float, idle_s: float, limits: Limits) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._due_s = due_s
        self._idle_s = idle_s
        self._is_begun = False
        self._is_waiting = False
        self._limits = limits
        self._timer = self._loop.call_at(due_s, self._look_at_the_time)
        self.who = who
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """What has come since, as soon as something has; empty at the end."""
        if self._is_begun:
            self._due_s = self._loop.time() + self._idle_s
        self._is_waiting = True
        try:
            piece = await self._response.content.readany()
        except TimeoutError:
            waited = (
                f"fell silent for {self._idle_s:g} s"
                if self._is_begun
                else "sent the head of an answer and then nothing"
            )
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, f"{self.who} {waited}") from None
        except aiohttp.ClientPayloadError as error:
            message = f"{self.who} broke off its answer before it was complete"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{self.who} broke off its answer: {_cause(error)}") from error
        finally:
            self._is_waiting = False
        if not self._is_begun:
            self._is_begun = True
            self._timer.cancel()  # it was set for the first piece; from now on pauses count
            self._timer = self._loop.call_later(self._idle_s, self._look_at_the_time)
        return piece

    def _look_at_the_time(self) -> None:
        """End a wait that has lasted too long, else look again when that could be."""
        now_s = self._loop.time()
        if self._is_waiting and now_s >= self._due_s:
            self._response.content.set_exception(TimeoutError())
            return
        due_s = self._due_s if self._is_waiting else now_s + self._idle_s
        self._timer = self._loop.call_at(due_s, self._look_at_the_time)

    def end(self) -> None:
        """Nobody reads any more: close the connection, unless the whole answer was read and it can be kept."""
        self._timer.cancel()
        self._response.close()

    def cut_off(self, why: str) -> None:
        """Let whoever reads this answer hear at once that it ends here."""
        self._response.content.set_exception(aiohttp.ClientConnectionError(why))
        self._response.close()

    async def body(self) -> bytes:
        """The whole body; an answer larger than the limit is an error."""
        limit_bytes = self._limits.body_bytes
        pieces, size_bytes = [], 0
        while piece := await self.read():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                message = f"{self.who} sent an answer of more than {limit_bytes} bytes"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            pieces.append(piece)
        return b"".join(pieces)

    async def error_text(self) -> str:
        """The body as text, cut at the limit for errors."""
        text = bytearray()
        while len(text) < self._limits.error_bytes and (piece := await self.read()):
            text += piece
        return bytes(text[: self._limits.error_bytes]).decode("utf-8", "replace")


class HttpClient:
    """Owns the connections to all backends; made inside a running loop, closed once."""

    def __init__(self, timeouts: Timeouts | None = None, limits: Limits | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self._limits = limits or Limits()
        self._open: set[Reply] = set()
        self._pooled = self._session(_Connector(limit=0, keepalive_timeout=KEEP_ALIVE_S))
        self._fresh = self._session(_Connector(limit=0, force_close=True))

    def _session(self, connector: _Connector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_s),
            headers={"User-Agent": f"ollama-proxyd/{__version__}", "Accept-Encoding": "identity"},
        )

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncGenerator[Reply, None]:
        """Send a request; on leaving before the answer's end the connection is closed at once."""
        wait_s = self.timeouts.first_byte_s if call.first_byte_s is None else call.first_byte_s
        due_s = asyncio.get_running_loop().time() + wait_s
        try:
            async with asyncio.timeout_at(due_s):
                response = await self._send(call)
        except TimeoutError as error:
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
        _opened.set(False)
        try:
            return await self._request(self._pooled, call)
        except aiohttp.ClientConnectionError as error:
            # A kept connection can be closed by the server at the moment of its reuse. Nothing was received, and
            # nothing is lost by asking once more on a new one; an answer that has begun never comes here.
            if _opened.get() or isinstance(error, TimeoutError) or _has_begun(error):
                raise
        return await self._request(self._fresh, call)

    @staticmethod
    async def _request(session: aiohttp.ClientSession, call: Call) -> aiohttp.ClientResponse:
        return await session.request(call.method, call.url, data=call.body, headers=call.headers, allow_redirects=False)

    def _idle_s(self, call: Call) -> float:
        """The longest pause within an answer; a question with a deadline of its own bears none beyond that."""
        idle_s = self.timeouts.idle_s
        return idle_s if call.first_byte_s is None else min(idle_s, call.first_byte_s)

    def _silence(self, error: TimeoutError, who: str, wait_s: float) -> str:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"{who} did not accept a connection within {self.timeouts.connect_s:g} s"
        return f"{who} did not begin to answer within {wait_s:g} s"

    async def close(self) -> None:
        """Close every connection; answers that still come in are cut off."""
        for reply in tuple(self._open):
            reply.cut_off("the proxy stopped waiting for the rest")
        await self._pooled.close()
        await self._fresh.close()


def _has_begun(error: aiohttp.ClientConnectionError) -> bool:
    """True when the server broke off inside the head of its answer rather than before it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _refuse_detours(response: aiohttp.ClientResponse, who: str) -> None:
    if 300 <= response.status < 400:
        target = one_line(response.headers.get("Location", "nowhere"))
        message = f"{who} answered with a redirect ({response.status} to {target}), and redirects are not followed"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=response.status)
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in {"identity", ""}:
        message = f"{who} compressed its answer ({one_line(packing)}) although it was asked not to"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=response.status)


def _meaning(error: aiohttp.ClientError | OSError, who: str) -> ProxyError:
    """What it means for routing that a request could not be sent."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        message = "the proxy has no more file descriptors for connections; raise its limit (ulimit -n, LimitNOFILE=)"
        return ProxyError(ErrorKind.OVERLOADED, message, retry_after_s=1.0)
    code = UNREACHABLE if isinstance(error, aiohttp.ClientConnectorError) else None
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} {_failure(error)}", code=code)


def _failure(error: aiohttp.ClientError | OSError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {_cause(error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"answered something that is not HTTP: {_cause(error)}"
    return f"failed: {_cause(error)}"


def _cause(error: aiohttp.ClientError | OSError) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message.partition("\n")[0].rstrip(": ")
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
