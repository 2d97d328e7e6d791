"""The HTTP client that asks backends: pooled connections, strict deadlines, nothing followed, nothing unpacked."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.options import Option, Positive
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.call import Answer, Call, Client, ConnectTimeoutError
from ollama_proxyd.edges.plumbing.general_client import GeneralClient
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply
from ollama_proxyd.edges.plumbing.patience import Patience
from ollama_proxyd.edges.plumbing.upstream import pool
from ollama_proxyd.edges.plumbing.watch import Watch

CUT_OFF_RETRY_S = 5.0


@value
class Timeouts:
    """How long to wait for a backend; nothing bounds the whole of an answer."""

    connect_s: Annotated[Positive, Option("upstream.", "Timeout in seconds for the connection.")] = 2.0
    first_byte_s: Annotated[
        Positive, Option("upstream.", "Timeout in seconds until the answer begins, model loading included.")
    ] = 300.0
    """Without streaming it covers the whole generation."""
    idle_s: Annotated[Positive, Option("upstream.", "Timeout in seconds between two pieces of an answer.")] = 120.0
    probe_s: Annotated[Positive, Option("upstream.", "Timeout in seconds for each request of a health check.")] = 3.0


class HttpClient:
    """Owns the connections to all backends; made inside a running loop, closed once."""

    def __init__(self, timeouts: Timeouts | None = None, limits: Limits | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        """How long is waited from the next request on; may be replaced at any time."""
        self._limits = limits or Limits()
        self._watch = Watch()
        self._waiting: set[Patience] = set()
        self._cut_off_because = self._cut_off_code = ""
        self._retired: list[Client] = []
        self._plain, self._general = pool.Pool(self._watch), GeneralClient(self._watch)

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncGenerator[Reply, None]:
        """Send a request; on leaving before the answer's end the connection is closed at once."""
        reply = await self.send(call)
        try:
            yield reply
        finally:
            reply.end()

    async def send(self, call: Call) -> Reply:
        """Send a request; who has the reply calls its `end`."""
        wait_s = self.timeouts.first_byte_s if call.first_byte_s is None else call.first_byte_s
        due_s = self._watch.loop.time() + wait_s
        try:
            async with Patience(due_s, self._watch) as patience:
                self._waiting.add(patience)
                try:
                    client = self._plain if pool.takes(call) else self._general
                    answer = await client.ask(call, self.timeouts.connect_s)
                finally:
                    self._waiting.discard(patience)
        except TimeoutError as error:
            if patience.was_ended:
                raise self._cut_off(call.who) from None
            raise ProxyError(ErrorKind.UPSTREAM_TIMEOUT, self._silence(error, call.who, wait_s)) from error
        reply = Reply(answer, call.who, (due_s, self._idle_s(call)), self._limits, self._watch)
        try:
            _refuse_detours(answer, call.who)
        except ProxyError:
            reply.end()
            raise
        return reply

    def _idle_s(self, call: Call) -> float:
        """The longest pause within an answer; a question with a deadline of its own bears none beyond that."""
        if call.idle_s is not None:
            return call.idle_s
        idle_s = self.timeouts.idle_s
        for bound_s in (call.first_byte_s, call.pause_s):
            if bound_s is not None:
                idle_s = min(idle_s, bound_s)
        return idle_s

    def _silence(self, error: TimeoutError, who: str, wait_s: float) -> str:
        if isinstance(error, ConnectTimeoutError):
            return f"{who} did not accept a connection within {self.timeouts.connect_s:g} s"
        return f"{who} did not begin to answer within {wait_s:g} s"

    def cut_off(self, why: str, code: str = "cut_off") -> None:
        """End all that is under way, with the reason."""
        self._cut_off_because, self._cut_off_code = why, code
        for reply in self._replies():
            reply.cut_off(self._cut_off(reply.who))
        for patience in tuple(self._waiting):
            patience.end()

    def _replies(self) -> list[Reply]:
        """The answers that are under way."""
        return [each for each in self._watch.waits if isinstance(each, Reply)]

    def _cut_off(self, who: str) -> ProxyError:
        message = f"the answer of {who} was cut off: {self._cut_off_because}; ask again"
        return ProxyError(ErrorKind.UNAVAILABLE, message, retry_after_s=CUT_OFF_RETRY_S, code=self._cut_off_code)

    async def renew(self) -> None:
        """Reuse no kept connection: after a sleep they look alive and are not. What is under way goes on."""
        self._retired += [self._plain, self._general]
        self._plain, self._general = pool.Pool(self._watch), GeneralClient(self._watch)
        if not self._watch.waits:
            await self._close_retired()

    async def _close_retired(self) -> None:
        while self._retired:
            await self._retired.pop().close()

    async def close(self) -> None:
        """Close every connection; answers that still come in are cut off."""
        for reply in self._replies():
            message = f"{reply.who} broke off its answer: the proxy stopped waiting for the rest"
            reply.cut_off(ProxyError(ErrorKind.UPSTREAM_FAILED, message))
        await self._plain.close()
        await self._general.close()
        await self._close_retired()


def _refuse_detours(answer: Answer, who: str) -> None:
    if 300 <= answer.status < 400:
        target = sanitize_line(answer.headers.get("Location", "nowhere"))
        message = f"{who} answered with a redirect ({answer.status} to {target}), and redirects are not followed"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=answer.status)
    packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in {"identity", ""}:
        message = f"{who} compressed its answer ({sanitize_line(packing)}) although it was asked not to"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=answer.status)
