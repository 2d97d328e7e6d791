"""One request and its answer over HTTP, the same for every kind of backend."""

from collections.abc import AsyncGenerator, Iterator

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason
from ollama_proxyd.core.requests import LoadAction, Request
from ollama_proxyd.core.wording import one_line
from ollama_proxyd.edges.backends.server import JSON_TYPE, Server
from ollama_proxyd.edges.backends.speech import Speech, is_whole, renamed
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply

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
        may_stream = request.stream or request.api is not speech.api
        accept = f"{speech.stream_type}, {JSON_TYPE}" if may_stream else JSON_TYPE
        self.in_flight += 1
        try:
            async with self._server.post(rendered.path, rendered.body, accept, request.hints.request_id) as reply:
                self._check_type(reply)
                yield Accepted(self._backend_id, ignored_fields=rendered.ignored_fields)
                in_frames = speech.is_stream(request, reply.content_type)
                if not in_frames:
                    for event in self._whole(request, model, reply.who, await reply.body()):
                        yield event
                    return
                listener = self._listener(request, model, reply.who)
                while chunk := await reply.read():
                    for event in listener.hear(chunk):
                        yield event
                for event in listener.end():
                    yield event
        finally:
            self.in_flight -= 1

    def _listener(self, request: Request, model: str, who: str) -> "_Forwarding | _Decoding":
        """What becomes of a stream: it is passed on to a client of the same dialect that wants one, else decoded."""
        speech = self._speech
        if request.api is speech.api and request.stream:
            return _Forwarding(speech, None if speech.echoes(request.model, model) else request.model, who)
        return _Decoding(speech, request, who)

    def _whole(self, request: Request, model: str, who: str, body: bytes) -> list[Event]:
        """The events of an answer that came in one piece."""
        speech = self._speech
        if request.api is not speech.api or request.stream:
            return speech.decode_answer(request, body)
        ending = speech.ending_of(body)
        if ending.error is not None or not ending.complete:
            raise ending.error or _broke_off(who)
        is_echo = speech.echoes(request.model, model)
        return [Delta(frame=body if is_echo else renamed(body, request.model)), ending.finished]

    def _check_type(self, reply: Reply) -> None:
        if reply.content_type not in _JSON_TYPES and reply.content_type != self._speech.stream_type:
            message = f"{reply.who} answered with {one_line(reply.content_type) or 'no content type'} instead of JSON"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)


class _Forwarding:
    """Whole frames as they come, under the client's name for the model if it is another."""

    __slots__ = ("_begun", "_cutter", "_name", "_speech", "_tail", "_who")

    def __init__(self, speech: Speech, name: str | None, who: str) -> None:
        self._speech = speech
        self._name = name
        self._who = who
        self._cutter = speech.cutter()
        self._tail = speech.tail()
        self._begun = False

    def hear(self, chunk: bytes) -> tuple[Event, ...]:
        """The frames that are whole now."""
        block = self._cutter.feed(chunk)
        return (self._pass_on(block),) if block else ()

    def end(self) -> Iterator[Event]:
        """What is left, and how it ended; raises when that was no proper end."""
        rest = self._cutter.rest()
        if rest and is_whole(self._speech.payloads(rest)):
            yield self._pass_on(rest)
        ending = self._tail.ending()
        if ending.error is not None:
            ending.error.is_told = True
            raise ending.error
        if not ending.complete:
            raise _broke_off(self._who)
        yield ending.finished

    def _pass_on(self, block: bytes) -> Delta:
        if not self._begun:
            self._refuse_error(block)
            self._begun = True
        self._tail.add(block)
        return Delta(frame=block if self._name is None else self._speech.rename(block, self._name))

    def _refuse_error(self, block: bytes) -> None:
        """Raise an error that came with the first frames: the client has nothing yet, so it can be a status."""
        if _ERROR_MARK not in block:
            return
        first = self._speech.tail()
        first.add(block)
        if (error := first.ending().error) is not None:
            raise error


class _Decoding:
    """A stream's meaning, for a client of another dialect or one that wants its answer in one piece."""

    __slots__ = ("_cutter", "_decoder", "_gathers", "_size_bytes", "_speech", "_who")

    def __init__(self, speech: Speech, request: Request, who: str) -> None:
        self._speech = speech
        self._who = who
        self._cutter = speech.cutter()
        self._decoder = speech.decoder(request)
        self._gathers = not request.stream
        self._size_bytes = 0

    def hear(self, chunk: bytes) -> list[Event]:
        """What the frames that are whole now mean."""
        self._size_bytes += len(chunk)
        if self._gathers and self._size_bytes > MOST_GATHERED_BYTES:
            message = f"{self._who} sent an answer of more than {MOST_GATHERED_BYTES} bytes"
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
        return self._decoder.feed(self._cutter.feed(chunk))

    def end(self) -> Iterator[Event]:
        """What is left, and how it ended; raises when that was no proper end."""
        rest = self._cutter.rest()
        if rest and is_whole(self._speech.payloads(rest)):
            yield from self._decoder.feed(rest)
        yield self._decoder.finish()


def _broke_off(who: str) -> ProxyError:
    message = f"{who} ended its answer before it was complete"
    return ProxyError(ErrorKind.UPSTREAM_FAILED, message, code="incomplete_answer")
