"""One request and its answer over HTTP, the same for every engine."""

import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason
from ollama_proxyd.core.requests import LoadAction, Request
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.dialects.base import Dialect, StreamReader
from ollama_proxyd.dialects.framing.jsonbody import is_whole, renamed
from ollama_proxyd.edges.backends.pass_through import PassThrough, proper_end
from ollama_proxyd.edges.backends.server import JSON_TYPE, Server
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply

_JSON_TYPES = frozenset({JSON_TYPE, "application/x-ndjson", "application/ndjson", "application/jsonl"})
MOST_GATHERED_BYTES = Limits().body_bytes
"""How much of a stream is taken in for a client that wants its answer in one piece."""

_NO_ROUTE = frozenset({404, 405})
_LOAD_REASONS = {LoadAction.LOAD: FinishReason.LOAD, LoadAction.UNLOAD: FinishReason.UNLOAD}


class Exchange:
    """Sends requests to one engine; frames pass untouched where it speaks the client's dialect."""

    __slots__ = ("_server", "_speaks", "in_flight")

    def __init__(self, server: Server, speaks: tuple[Dialect, ...]) -> None:
        self._server = server
        self._speaks = speaks
        self.in_flight = 0

    def dialect_for(self, request: Request) -> Dialect:
        """The client's own dialect where the engine speaks it, else the one to translate to."""
        api, first = request.api, self._speaks[0]
        if first.api is api:
            return first
        return next((each for each in self._speaks if each.api is api and each.takes(request)), first)

    async def answer_or_translate(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """The answer in the client's own dialect; an imitator without that route is asked in the engine's first one."""
        first = self._speaks[0]
        for dialect in (self.dialect_for(request), first):
            try:
                async with aclosing(self.answer(request, model, dialect)) as events:
                    async for event in events:
                        yield event
            except ProxyError as error:
                if dialect is first or error.status not in _NO_ROUTE:
                    raise
            else:
                return

    async def answer(self, request: Request, model: str, dialect: Dialect | None = None) -> AsyncGenerator[Event, None]:
        """Accepted, deltas, Finished; closing it early closes the connection at once."""
        dialect = dialect or self.dialect_for(request)
        rendered = dialect.render(request, model)
        most_bytes = math.inf if request.stream else MOST_GATHERED_BYTES
        size_bytes = 0
        self.in_flight += 1
        try:
            async with self._server.post(
                rendered.path, rendered.body, _accepted_types(dialect, request), request.hints.request_id
            ) as reply:
                _check_type(reply, dialect)
                yield Accepted(rendered.ignored_fields)
                if not dialect.is_stream(request, reply.content_type):
                    for event in _whole(dialect, request, model, reply.who, await reply.body()):
                        yield event
                    return
                splitter, reader = dialect.splitter(), _reader(dialect, request, model, reply.who)
                while chunk := await reply.read():
                    size_bytes += len(chunk)
                    if size_bytes > most_bytes:
                        raise _too_large(reply.who)
                    for event in reader.feed(splitter.feed(chunk)):
                        yield event
                for event in _last(dialect, reader, splitter.remainder()):
                    yield event
        finally:
            self.in_flight -= 1


def _last(dialect: Dialect, reader: StreamReader, remainder: bytes) -> Iterator[Event]:
    """The events of a last frame without its end, if it is whole, and how the stream ended."""
    if remainder and is_whole(dialect.payloads(remainder)):
        yield from reader.feed(remainder)
    yield reader.finish()


def _accepted_types(dialect: Dialect, request: Request) -> str:
    may_stream = request.stream or request.api is not dialect.api
    return f"{dialect.stream_type}, {JSON_TYPE}" if may_stream else JSON_TYPE


async def load_only(request: Request, action: LoadAction) -> AsyncGenerator[Event, None]:
    """The answer to a request that only loads or unloads a model, for an engine that has no such request."""
    ignored = tuple(name for name in ("keep_alive",) if name in request.content().options.known)
    yield Accepted(ignored)
    yield Finished(_LOAD_REASONS[action])


def _reader(dialect: Dialect, request: Request, model: str, who: str) -> StreamReader:
    """What becomes of a stream: passed on to a client of the same dialect that wants one, else decoded."""
    if request.api is dialect.api and request.stream:
        return PassThrough(dialect, request, None if dialect.echoes(request.model, model) else request.model, who)
    return dialect.decoder(request)


def _whole(dialect: Dialect, request: Request, model: str, who: str, body: bytes) -> list[Event]:
    """The events of an answer that came in one piece."""
    if request.api is not dialect.api or request.stream:
        return dialect.decode_answer(request, body)
    finished = proper_end(dialect.answer_ending(body), who)
    frame = body if dialect.echoes(request.model, model) else renamed(body, request.model)
    return [Delta(frame=frame), finished]


def _check_type(reply: Reply, dialect: Dialect) -> None:
    if reply.content_type not in _JSON_TYPES and reply.content_type != dialect.stream_type:
        message = f"{reply.who} answered with {sanitize_line(reply.content_type) or 'no content type'} instead of JSON"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)


def _too_large(who: str) -> ProxyError:
    message = f"{who} sent an answer of more than {MOST_GATHERED_BYTES} bytes"
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message)
