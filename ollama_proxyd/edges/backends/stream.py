"""An answer that comes in frames: asked for piece by piece, or poured."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Delta, Event, Tell
from ollama_proxyd.core.requests import Request
from ollama_proxyd.dialects.base import INCOMPLETE, Dialect, StreamReader
from ollama_proxyd.dialects.framing.gathering import CallCheck
from ollama_proxyd.dialects.framing.lenient import pieces_in
from ollama_proxyd.dialects.framing.sse import DONE
from ollama_proxyd.edges.plumbing.http_reply import Limits, Reply

log = logging.getLogger(__name__)
MOST_GATHERED_BYTES = Limits().body_bytes
"""How much of a stream is taken in for a client that wants its answer in one piece."""
_OBJECT_END = b"}"
"""In what completes a frame, unlike in comments and blanks."""


class Stream:
    """The events of an answer that comes in frames."""

    __slots__ = (
        *("_check", "_dialect", "_has_ended", "_is_between", "_is_gathered", "_reply", "_size_bytes", "_splitter"),
        "reader",
    )

    def __init__(self, dialect: Dialect, request: Request, reply: Reply, reader: StreamReader) -> None:
        self._dialect = dialect
        self._reply = reply
        self._splitter = dialect.splitter()
        self._size_bytes = 0
        self._is_gathered = not request.stream
        self._has_ended = False
        self._is_between = False
        """Whether the last piece ended with its frame."""
        self._check = CallCheck(request)
        self.reader = reader

    @property
    def is_over(self) -> bool:
        """Whether nothing follows that is a part of the answer."""
        return self._has_ended or self.reader.ended

    async def next(self) -> Sequence[Event]:
        """The events of what comes next."""
        chunk = await self._reply.read()
        self._has_ended = not chunk
        return self.take(chunk)

    async def pour(self, tell: Tell) -> None:
        """Tell the events of all that comes, as long as they are taken; raises ProxyError for what cannot be read."""
        failure: ProxyError | None = None

        def take(chunk: bytes) -> bool:
            nonlocal failure
            if self._is_between and (told := passed(chunk)):
                note_progress()
                return tell(told)
            note_piece()
            goes_on = True
            try:
                for event in self.take(chunk):
                    goes_on = tell(event) and goes_on
            except ProxyError as error:
                failure = error
                return False
            return goes_on and not self.reader.ended

        passed, reply = self.reader.passed, self._reply
        note_progress, note_piece = reply.note_progress, reply.note_piece
        self._has_ended = await reply.pour(take)
        if failure is not None:
            raise failure

    def take(self, chunk: bytes) -> Sequence[Event]:
        """The events of the frames that are whole now."""
        if self._is_gathered:
            self._size_bytes += len(chunk)
            check_size(self._reply.who, self._size_bytes)
        events = self.reader.feed(self._splitter.feed(chunk))
        self._check.hear(events)
        self._is_between = not self._is_gathered and not self._splitter.remainder()
        if events and chunk.find(_OBJECT_END) >= 0:
            self._reply.note_progress()
        return events

    async def end(self) -> Iterator[Event]:
        """The events of a last frame that lacks only its end, and how the stream ended.

        A connection that breaks after the end of an answer has done no harm.
        """
        if not self._has_ended:
            await self._reply.drain()
        return self._last()

    def _last(self) -> Iterator[Event]:
        reader, dialect, rest = self.reader, self._dialect, self._splitter.remainder()
        payloads = () if reader.ended else tuple(dialect.payloads(rest))
        if payloads and all(each == DONE or pieces_in(each).objects for each in payloads):
            events = reader.feed(rest.rstrip(b"\r\n") + dialect.frame_ends[0])
            self._check.hear(events)
            yield from events
        if reader.skipped_frames:
            log.warning("%s: %d frames could not be read and were skipped", self._reply.who, reader.skipped_frames)
        try:
            finished = reader.finish()
        except ProxyError as error:
            if self._reply.broken is not None and error.code == INCOMPLETE:
                raise self._reply.broken from error
            raise
        self._check.hear([finished])
        if reader.closing:
            yield Delta(frame=reader.closing)
        yield replace(finished, skipped_frames=reader.skipped_frames) if reader.skipped_frames else finished


def check_size(who: str, size_bytes: int) -> None:
    """Raise UPSTREAM_FAILED where so much was taken in of an answer."""
    if size_bytes > MOST_GATHERED_BYTES:
        message = f"{who} sent an answer of more than {MOST_GATHERED_BYTES} bytes"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message)
