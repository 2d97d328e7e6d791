"""One connection to a server: sends a request, and hands on its answer as it comes."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ollama_proxyd.core.text import LARGE_BYTES
from ollama_proxyd.edges.plumbing.call import MOST_HEADER_BYTES, PIECE_BYTES, BrokenOffError, Take
from ollama_proxyd.edges.plumbing.upstream.head import (
    MOST_HEADERS,
    Field,
    NotHttpError,
    headers_of,
    is_framed,
    too_much,
)

_NOTHING: Final = memoryview(b"")
_NONE: Final[Mapping[str, str]] = {}
_MOST_HELD_BYTES: Final = 256 * 1024
"""So much of an answer waits for its reader before the server has to wait."""
_MOST_BESIDE_BODY_BYTES: Final = 4 * MOST_HEADER_BYTES
"""So much may come without a byte of the body: a head, those of interim answers, extensions of chunks, trailers."""


class Connection(asyncio.Protocol):
    """Carries one request at a time, and is then its answer (`call.Answer`).

    The parser calls `on_…` for each part; nothing else looks at the bytes, and those of the body are handed on
    as they come.
    """

    __slots__ = (
        *("_beside_bytes", "_error", "_fields", "_free", "_held_bytes", "_is_complete", "_is_framed", "_is_full"),
        *("_is_head", "_is_paused", "_keeps", "_loop", "_parser", "_pieces", "_refusal", "_take", "_transport"),
        *("_unsent", "_waiter", "has_received", "headers", "is_open", "status"),
    )

    def __init__(self, free: Callable[["Connection"], None]) -> None:
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._take: Take | None = None
        """Takes what comes, instead of a reader that waits for it."""
        self._refusal: BaseException | None = None
        """What it raised."""
        self._unsent = _NOTHING
        self._is_full = False
        """Whether the transport takes nothing more for now."""
        self.is_open = False
        self.has_received = False
        """Whether anything came since the request."""
        self._begin(is_head=False)
        self._is_complete = True
        self._keeps = False

    def _begin(self, *, is_head: bool) -> None:
        self.status = 0
        self.headers = _NONE
        self.has_received = self._is_complete = self._is_framed = self._is_paused = False
        self._is_head = is_head
        self._fields: list[Field] = []
        self._pieces: list[bytes] = []
        self._held_bytes = self._beside_bytes = 0
        self._error: Exception | None = None

    # what its owner asks of it

    async def ask(self, head: bytes, body: bytes, *, is_head: bool, keeps: bool) -> None:
        """Send a request, and wait for the head of its answer; raises NotHttpError, OSError, EOFError.

        Where none comes the connection is closed.
        """
        self._begin(is_head=is_head)
        self._keeps = keeps
        try:
            if len(body) < LARGE_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                self._unsent = memoryview(body)
                self._send_more()
            while not self.status and self._error is None:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        if not self.status and self._error is not None:
            self.abort()
            raise self._error

    @property
    def is_over(self) -> bool:
        """See call.Answer."""
        return self._is_complete and not self._pieces

    async def read(self) -> bytes:
        """See call.Answer."""
        pieces = self._pieces
        while not pieces:
            if self._error is not None:
                raise self._error
            if self._is_complete:
                return b""
            await self._wait()
        return self._next_piece()

    async def pour(self, take: Take) -> bool:
        """See call.Answer."""
        self._take, self._refusal = take, None
        self.headers = _NONE  # nobody reads them any more, and a thousand answers may be poured for long
        try:
            if self._pieces:
                self._hand_over()
            while self._take is not None and not self._is_complete and self._error is None:
                await self._wait()
        finally:
            self._take = None
        if self._refusal is not None:
            raise self._refusal
        if self._error is not None:
            raise self._error
        return self.is_over

    def _hand_over(self) -> None:
        """Have what has come taken; who takes no more is told that it waits no longer."""
        if self._take is None:
            return
        pieces = self._pieces
        try:
            if self._take(pieces.pop() if len(pieces) == 1 and not self._held_bytes else self._next_piece()):
                return
        except BaseException as refusal:  # noqa: BLE001 - it is raised for the reader, not for the transport
            self._refusal = refusal
        self._take = None
        self._wake()

    def _next_piece(self) -> bytes:
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._held_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    def fail(self, error: Exception) -> None:
        """See call.Answer."""
        self._pieces.clear()
        self._error = error
        self._end(error)

    def close(self) -> None:
        """See call.Answer."""
        is_waiting = self._is_paused or self._is_full or self._unsent
        if self._is_complete and self._keeps and self.is_open and not is_waiting:
            self._free(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._unsent = _NOTHING
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, error: Exception) -> None:
        """Close the connection; the reader hears why, unless the whole answer has come."""
        self._keeps = False
        if self._error is None and not self._is_complete:
            self._error = BrokenOffError() if self.status else error
        self.abort()
        self._wake()

    def _send_more(self) -> None:
        while self._unsent and not self._is_full:
            piece, self._unsent = self._unsent[:PIECE_BYTES], self._unsent[PIECE_BYTES:]
            self._transport.write(piece)

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        """The server has closed the connection, or the system: that ends an answer without a length."""
        self.is_open = False
        del self._parser  # which holds this connection in turn
        if error is None and self.status and not self._is_framed:
            self._is_complete = True
        self._end(error or EOFError())

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._is_full = False
        self._send_more()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer, or words that nobody asked for."""
        self.has_received = True
        if self._is_complete:
            self.abort()
            return
        self._beside_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            inner = error.__context__
            self._end(inner if isinstance(inner, NotHttpError) else NotHttpError(str(error)))
        else:
            if self._beside_bytes > _MOST_BESIDE_BODY_BYTES:
                self._end(NotHttpError("a head that does not end"))
        if self._take is not None and self._pieces:
            self._hand_over()

    # what the parser tells

    def on_message_begin(self) -> None:
        """Called by the parser; a second answer to one request spoils the connection."""
        if self._is_complete:
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        if len(self._fields) >= MOST_HEADERS or len(name) + len(value) > MOST_HEADER_BYTES:
            raise too_much(len(self._fields))
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head of an answer; after one in between the real one follows (RFC 9110, section 15.2)."""
        if self._is_complete:
            return
        status = self._parser.get_status_code()
        headers = headers_of(self._fields)
        self._is_framed = is_framed(status, self._parser.get_http_version(), headers)
        self._fields.clear()
        if status < 200:
            return
        self.status, self.headers = status, headers
        if self._is_head:  # the parser does not know that no body follows
            self._is_complete, self._keeps = True, False
        if status >= 400:
            self._keeps = self._keeps and not self._unsent
            self._unsent = _NOTHING
        self._wake()

    def on_body(self, piece: bytes) -> None:
        """Bytes of the body, without the marks of chunks."""
        if self._is_complete:
            return
        self._pieces.append(piece)
        self._beside_bytes = 0
        if self._take is not None:
            return  # it takes all that was read together
        self._held_bytes += len(piece)
        if self._held_bytes > _MOST_HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self.status and not self._is_complete:
            self._is_complete = True
            self._keeps = self._keeps and self._parser.should_keep_alive()
            self._wake()
