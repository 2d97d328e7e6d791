"""One request and its answer over HTTP, the same for every kind of backend."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason
from ollama_proxyd.core.requests import LoadAction, Request
from ollama_proxyd.core.wording import one_line
from ollama_proxyd.edges.backends.server import JSON_TYPE, Server
from ollama_proxyd.edges.backends.speech import Speech, is_whole, renamed
from ollama_proxyd.edges.plumbing.http import Limits, Reply

_JSON_TYPES = frozenset({JSON_TYPE, "application/x-ndjson", "application/ndjson", "application/jsonl"})
MOST_GATHERED_BYTES = Limits().body_bytes
"""How much of a stream is taken in for a client that wants its answer in one piece."""

_ERROR_MARK = b'"error"'
_LOAD_REASONS = {LoadAction.LOAD: FinishReason.LOAD, LoadAction.UNLOAD: FinishReason.UNLOAD}


class Exchange:
    """Sends requests to one backend; frames pass untouched where client and backend speak one dialect."""

    __slots__ = ("_backend_id", "_server", "_speech", "in_flight")

    def __init__(self, backend_id: str, server: Server, speech: Speech) -> None:
        self._backend_id = backend_id
        self._server = server
        self._speech = speech
        self.in_flight = 0

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        """Accepted, deltas, Finished; closing it early closes the connection at once."""
        if request.load_action is not None and not self._speech.answers_loads:
            ignored = tuple(name for name in ("keep_alive",) if name in request.content().options.known)
            yield Accepted(self._backend_id, ignored_fields=ignored)
            yield Finished(_LOAD_REASONS[request.load_action])
            return
        speech = self._speech
        rendered = speech.render(request, model)
        may_stream = request.stream or request.dialect is not speech.dialect
        accept = f"{speech.stream_type}, {JSON_TYPE}" if may_stream else JSON_TYPE
        self.in_flight += 1
        try:
            async with self._server.post(rendered.path, rendered.body, accept, request.hints.request_id) as reply:
                self._check_type(reply)
                yield Accepted(self._backend_id, ignored_fields=rendered.ignored_fields)
                async with aclosing(self._events(request, model, reply)) as events:
                    async for event in events:
                        yield event
        finally:
            self.in_flight -= 1

    def _events(self, request: Request, model: str, reply: Reply) -> AsyncGenerator[Event, None]:
        speech = self._speech
        in_frames = speech.is_stream(request, reply.content_type)
        if request.dialect is not speech.dialect or in_frames is not request.stream:
            return self._decoded(request, reply, in_frames=in_frames)
        name = None if speech.echoes(request.model, model) else request.model
        return self._forwarded(reply, name) if in_frames else self._forwarded_whole(reply, name)

    async def _forwarded(self, reply: Reply, name: str | None) -> AsyncGenerator[Event, None]:
        """Whole frames as they come, under the client's name for the model if it is another."""
        speech = self._speech
        cutter, tail = speech.cutter(), speech.tail()
        begun = False
        while chunk := await reply.read():
            block = cutter.feed(chunk)
            if not block:
                continue
            if not begun:
                self._refuse_error(block)
                begun = True
            tail.add(block)
            yield Delta(frame=block if name is None else speech.rename(block, name))
        rest = cutter.rest()
        if rest and is_whole(speech.payloads(rest)):
            tail.add(rest)
            yield Delta(frame=rest if name is None else speech.rename(rest, name))
        ending = tail.ending()
        if ending.error is not None:
            ending.error.is_told = True
            raise ending.error
        if not ending.complete:
            raise self._broke_off(reply)
        yield ending.finished

    def _refuse_error(self, block: bytes) -> None:
        """Raise an error that came with the first frames: the client has nothing yet, so it can be a status."""
        if _ERROR_MARK not in block:
            return
        first = self._speech.tail()
        first.add(block)
        if (error := first.ending().error) is not None:
            raise error

    async def _forwarded_whole(self, reply: Reply, name: str | None) -> AsyncGenerator[Event, None]:
        body = await reply.body()
        ending = self._speech.ending_of(body)
        if ending.error is not None or not ending.complete:
            raise ending.error or self._broke_off(reply)
        yield Delta(frame=body if name is None else renamed(body, name))
        yield ending.finished

    async def _decoded(self, request: Request, reply: Reply, *, in_frames: bool) -> AsyncGenerator[Event, None]:
        """The answer's meaning, for a client of another dialect."""
        if not in_frames:
            for event in self._speech.decode_answer(request, await reply.body()):
                yield event
            return
        cutter, decoder = self._speech.cutter(), self._speech.decoder(request)
        size_bytes = 0
        while chunk := await reply.read():
            size_bytes += len(chunk)
            if size_bytes > MOST_GATHERED_BYTES and not request.stream:
                message = f"{reply.who} sent an answer of more than {MOST_GATHERED_BYTES} bytes"
                raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
            for event in decoder.feed(cutter.feed(chunk)):
                yield event
        rest = cutter.rest()
        if rest and is_whole(self._speech.payloads(rest)):
            for event in decoder.feed(rest):
                yield event
        yield decoder.finish()

    def _check_type(self, reply: Reply) -> None:
        if reply.content_type not in _JSON_TYPES and reply.content_type != self._speech.stream_type:
            message = f"{reply.who} answered with {one_line(reply.content_type) or 'no content type'} instead of JSON"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)

    @staticmethod
    def _broke_off(reply: Reply) -> ProxyError:
        message = f"{reply.who} ended its answer before it was complete"
        return ProxyError(ErrorKind.UPSTREAM_FAILED, message, code="incomplete_answer")
