"""One request and its answer over HTTP, the same for every engine."""

import codecs
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Flow
from ollama_proxyd.core.quoting import unquoted
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.core.values import replace
from ollama_proxyd.dialects.base import Dialect, Rendered, StreamReader, unreadable
from ollama_proxyd.dialects.framing.gathering import CallCheck
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, renamed, with_field
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.edges.backends.pass_through import PassThrough, names_of
from ollama_proxyd.edges.backends.request_options import RequestOptions
from ollama_proxyd.edges.backends.server import JSON_TYPE, Posted, Server
from ollama_proxyd.edges.backends.stream import Stream, check_size
from ollama_proxyd.edges.plumbing.http_reply import Reply
from ollama_proxyd.services.large import off_loop

_JSON_TYPES = frozenset({JSON_TYPE, "application/x-ndjson", "application/ndjson", "application/jsonl"})

_PLAUSIBLE = re.compile(rb"[{\[:]|d|e|i|r")
_NO_ROUTE = frozenset({404, 405})
_INVALID = frozenset({400, 422})


class Keeping(NamedTuple):
    """The field that tells an engine how long a model stays, and the seconds by its name of the model."""

    field: str | None
    seconds: Mapping[str, int]


class Exchange:
    """Sends requests to one engine; frames pass untouched where it speaks the client's dialect."""

    __slots__ = ("_keeping", "_options", "_refused", "_resuming", "_server", "_speaks", "in_flight")

    def __init__(
        self,
        server: Server,
        speaks: tuple[Dialect, ...],
        resuming: Mapping[str, Json],
        keeping: Keeping,
        options: RequestOptions | None = None,
    ) -> None:
        self._server = server
        self._speaks = speaks
        self._resuming = resuming
        self._keeping = keeping
        self._options = options
        self._refused: str | None = None
        """The field that is added where the engine takes it, and that this one does not."""
        self.in_flight = 0

    def dialect_for(self, request: Request) -> Dialect:
        """The client's own dialect where the engine speaks it, else the one to translate to."""
        api, first = request.api, self._speaks[0]
        if first.api is api:
            return first
        return next((each for each in self._speaks if each.api is api and each.takes(request)), first)

    def can_say(self, request: Request) -> bool:
        """Whether the engine can be asked for all that the request says, and takes it as the first one did."""
        dialect = self.dialect_for(request)
        if request.resume is not None and request.resume.only_own and dialect.api is not request.api:
            return False
        try:
            dialect.render(request, request.model)
        except ProxyError:
            return False
        return True

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
        keep_s = self._keep_s(dialect, request, model)
        rendered = await off_loop(len(request.body), partial(self._rendered, dialect, request, model, keep_s))
        self.in_flight += 1
        try:
            reply = await self._asked(dialect, request, rendered)
            try:
                chunk = await _start(reply)
                _check_type(reply, dialect, chunk)
                rest_s = self._server.rest_s(reply)
                meaning = _Meaning(dialect, request) if _passes(dialect, request) else None
                yield Accepted(rendered.ignored_fields, meaning, rest_s, keep_s)
                if not dialect.is_stream(request, reply.content_type, chunk):
                    for event in await _whole(dialect, request, model, reply, chunk):
                        yield event
                    return
                stream = Stream(dialect, request, reply, _reader(dialect, request, model, reply.who, rendered))
                for event in stream.take(chunk):
                    yield event
                flow = Flow(stream.pour)
                while not stream.is_over:
                    yield flow
                    for event in () if flow.was_poured() else await stream.next():
                        yield event
                for event in await stream.end():
                    yield event
            finally:
                reply.end()
        except ProxyError as error:
            raise await off_loop(len(request.body), partial(unquoted, error, request)) from error
        finally:
            self.in_flight -= 1

    async def _asked(self, dialect: Dialect, request: Request, rendered: Rendered) -> Reply:
        """The engine's reply; one that takes the request only without what was added is asked so from then on."""
        try:
            return await self._server.post(rendered.path, _posted(dialect, request, rendered), request.hints)
        except ProxyError as error:
            is_of_it = error.status in _INVALID and (rendered.added or "\0") in f"{error.message} {error.detail}"
            if not is_of_it:
                raise
        bare = await off_loop(len(rendered.body), partial(_without_added, rendered))
        reply = await self._server.post(bare.path, _posted(dialect, request, bare), request.hints)
        self._refused = rendered.added  # some engines repeat the whole request in whatever they complain of
        return reply

    def _keep_s(self, dialect: Dialect, request: Request, model: str) -> int | None:
        """How long the model is to stay, where the client does not say and the engine takes it.

        A request that only loads is for others that will come, so the engine's own time counts.
        """
        if self._keeping.field is None or dialect is not self._speaks[0]:
            return None
        is_silent = request.keeps_s is None and request.load_action is None
        return self._keeping.seconds.get(model) if is_silent else None

    def _rendered(self, dialect: Dialect, request: Request, model: str, keep_s: int | None) -> Rendered:
        """The request for the engine, with what asks it to keep the model, and to go on from a begun answer."""
        rendered = dialect.render(request, model)
        if rendered.added is not None and rendered.added == self._refused:
            rendered = _without_added(rendered)
        if self._options is not None and dialect is self._speaks[0]:
            rendered = self._options.added(request, rendered)
        if keep_s is not None and self._keeping.field is not None:
            rendered = replace(rendered, body=with_field(rendered.body, self._keeping.field, keep_s))
        if request.spoken is None or not self._resuming:
            return rendered
        return replace(rendered, body=msgspec.json.encode({**decode_fields(rendered.body), **self._resuming}))


def _without_added(rendered: Rendered) -> Rendered:
    fields = decode_fields(rendered.body)
    kept = {name: value for name, value in fields.items() if name != rendered.added}
    return replace(rendered, body=msgspec.json.encode(kept), added=None)


_BLANK = codecs.BOM_UTF8 + b" \t\r\n"


async def _start(reply: Reply) -> bytes:
    """The first bytes of an answer without what is blank before it; empty where it has none."""
    while chunk := await reply.read():
        if start := chunk.lstrip(_BLANK):
            return start
    if reply.broken is not None:
        raise reply.broken
    return b""


def _posted(dialect: Dialect, request: Request, rendered: Rendered) -> Posted:
    is_stream = request.stream or rendered.joiner is not None
    accept = f"{dialect.stream_type}, {JSON_TYPE}" if is_stream or request.api is not dialect.api else JSON_TYPE
    return Posted(rendered.body, accept, pause_s=request.pause_s if is_stream else None)


def _passes(dialect: Dialect, request: Request) -> bool:
    """Whether frames are passed on.

    Those that go on from another backend's would not fit to its, and an engine's last one does not tell the energy.
    """
    is_plain = request.spoken is None and not request.hints.include_energy
    return is_plain and request.api is dialect.api and request.stream


class _Meaning:
    """What frames mean that are passed on; it raises for one that cannot be read."""

    __slots__ = ("_decoder", "_dialect", "_request")

    def __init__(self, dialect: Dialect, request: Request) -> None:
        self._dialect, self._request = dialect, request
        self._decoder: StreamReader | None = None
        """None as long as nothing was read, as with most answers."""

    def __call__(self, block: bytes) -> Sequence[Event]:
        decoder = self._decoder = self._decoder or self._dialect.decoder(self._request)
        events = decoder.feed(block)
        if decoder.skipped_frames:
            raise unreadable("the backend", decoder.skipped_frames)
        return events


def _reader(dialect: Dialect, request: Request, model: str, who: str, rendered: Rendered) -> StreamReader:
    """What becomes of a stream: passed on to a client of the same dialect that wants one, joined, or decoded."""
    name = None if dialect.echoes(request.model, model) else request.model
    if rendered.joiner is not None and not request.hints.include_energy:
        return rendered.joiner(name)
    if _passes(dialect, request):
        return PassThrough(dialect, request, name, who)
    return dialect.decoder(request)


async def _whole(dialect: Dialect, request: Request, model: str, reply: Reply, start: bytes) -> list[Event]:
    """The events of an answer that comes in one piece; it is passed on where every reader of its dialect takes it."""
    reply.bear(request.whole_pause_s)
    body = await _body(reply, start)
    try:
        return await off_loop(len(body), partial(_read_whole, dialect, request, model, body))
    except ProxyError as error:
        raise reply.broken or error from error


def _read_whole(dialect: Dialect, request: Request, model: str, body: bytes) -> list[Event]:
    is_other = request.api is not dialect.api or request.stream or request.hints.include_energy
    passed = None if is_other else _passed_whole(dialect, request, body)
    if passed is None:
        events = dialect.decode_answer(request, body)
        CallCheck(request).hear(events)
        return events
    body, finished = passed
    frame = body if dialect.echoes(request.model, model) else renamed(body, request.model)
    return [Delta(frame=frame), finished]


def _passed_whole(dialect: Dialect, request: Request, body: bytes) -> tuple[bytes, Finished] | None:
    """A whole answer as every client reads it, and its end; None where it is none of the dialect."""
    form, ending = dialect.form(request), dialect.answer_ending(body)
    if ending.error is not None:
        raise ending.error
    if not form.is_strict(body):
        mended = form.mended(body, names_of(request))
        if mended is None:
            return None
        body, ending = mended, dialect.answer_ending(mended)
    return (body, ending.finished) if ending.complete else None


async def _body(reply: Reply, start: bytes) -> bytes:
    """All that comes of an answer; where it breaks off after its one object, that is enough."""
    if not start or reply.is_over:
        return start
    body = bytearray(start)
    while piece := await reply.read():
        body += piece
        reply.note_size(len(body))
        check_size(reply.who, len(body))
    objects = pieces_in(bytes(body)).objects if reply.broken is not None else ()
    return objects[0] if len(objects) == 1 else bytes(body)


def _check_type(reply: Reply, dialect: Dialect, start: bytes) -> None:
    """Raise UPSTREAM_FAILED for an answer that calls itself something else and does not look like JSON or events."""
    is_known = reply.content_type in _JSON_TYPES or reply.content_type == dialect.stream_type
    if not is_known and not _PLAUSIBLE.match(start):
        message = f"{reply.who} answered with {sanitize_line(reply.content_type) or 'no content type'} instead of JSON"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)
