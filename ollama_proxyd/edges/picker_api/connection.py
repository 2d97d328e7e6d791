"""The server's side of a connection of HTTP/2: streams, flow control, and bounds on what the other side sends."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from ollama_proxyd.edges.picker_api import frames
from ollama_proxyd.edges.picker_api.frames import Code, ConnectionFault, HeadReader, Kind, Setting, unpadded
from ollama_proxyd.edges.picker_api.outbox import FIRST_WINDOW, Outbox
from ollama_proxyd.edges.picker_api.streams import HEAD, Call, Stream
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.tasks import Tasks

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 1024
MOST_STREAMS: Final = 65_536
"""A gateway has a stream for each answer that is under way."""
STREAM_WINDOW: Final = 256 * 1024
WINDOW: Final = 16 * 1024 * 1024
_LEAVING: Final = b"leaving!"

Calls = Mapping[str, Callable[[Stream], Call]]
"""What makes a call, by path."""
Connections = Cell[frozenset["Connection"]]
"""Those that are open."""


class Connection(asyncio.Protocol):
    """One connection, for all of its life."""

    def __init__(self, calls: Calls, connections: Connections, tasks: Tasks) -> None:
        self._calls = calls
        self._connections = connections
        self._tasks = tasks
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._is_greeted = False
        self._heads = HeadReader()
        self._block: tuple[int, int, bytes] | None = None
        """The stream, the flags and the beginning of a head that goes on in the next frame."""
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._credit = WINDOW
        self._out = Outbox()
        self._is_reading = False
        self._is_leaving = self._has_told = self._is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections.value) >= MOST_CONNECTIONS:
            self._transport.abort()
            return
        self._connections.set(self._connections.value | {self})
        ours = {Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS, Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
        told = frames.settings({**ours, Setting.MAX_HEADER_LIST_SIZE: frames.HEADER_BYTES})
        self._out.put(Kind.SETTINGS, 0, 0, told)
        self.credit(0, WINDOW - FIRST_WINDOW)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """All that was asked through it has no asker any more."""
        self._connections.set(self._connections.value - {self})
        self._transport = None
        for stream in tuple(self._streams.values()):
            stream.close()
        self._streams.clear()

    def pause_writing(self) -> None:
        """Who takes no answers may ask no more."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes them again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Read the frames that are whole."""
        self._unread = self._unread + data if self._unread else data
        self._is_reading = True
        try:
            self._read()
        except ConnectionFault as fault:
            self._leave(fault)
        self._is_reading = False
        self._flush()

    def _read(self) -> None:
        unread, at = self._unread, 0 if self._is_greeted else self._greeting()
        try:
            while self._is_greeted and len(unread) - at >= 9:
                size = unread[at] << 16 | unread[at + 1] << 8 | unread[at + 2]
                if size > frames.FRAME_BYTES:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is too large")
                end = at + 9 + size
                if end > len(unread):
                    break
                kind, flags = unread[at + 3], unread[at + 4]
                number = int.from_bytes(unread[at + 5 : at + 9]) & frames.MOST_WINDOW
                payload, at = unread[at + 9 : end], end
                if self._block is not None and (kind, number) != (Kind.CONTINUATION, self._block[0]):
                    raise ConnectionFault(Code.PROTOCOL_ERROR, "a head does not go on")
                _TAKES.get(kind, Connection._ignored)(self, flags, number, payload)
        finally:
            self._unread = unread[at:]

    def _greeting(self) -> int:
        """How much of what was heard greets; it is read when it is whole."""
        heard = self._unread[: len(frames.PREFACE)]
        if heard != frames.PREFACE[: len(heard)]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "it does not speak HTTP/2")
        self._is_greeted = len(heard) == len(frames.PREFACE)
        return len(heard) if self._is_greeted else 0

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._credit -= size
        if self._credit < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more came than was allowed")
        if self._credit < WINDOW // 2:
            self.credit(0, WINDOW - self._credit)
            self._credit = WINDOW
        stream = self._streams.get(number)
        if stream is None:
            if not number & 1 or number > self._last:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a body without a head")
            return  # what was on its way when the stream ended
        stream.credit -= size
        if stream.credit < 0 or stream.is_ended_there:
            self._reset(stream, Code.STREAM_CLOSED if stream.is_ended_there else Code.FLOW_CONTROL_ERROR)
        else:
            stream.hear(unpadded(flags, payload) if flags else payload, ends=bool(flags & frames.END_STREAM))

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        block = unpadded(flags, payload, frames.PRIORITY)
        if not flags & frames.END_HEADERS:
            self._block = number, flags, block
            return
        path, stream = self._heads.path(block), self._streams.get(number)
        if stream is not None:  # trailers
            stream.hear(b"", ends=True)
            return
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream with the number of a server's")
        if number <= self._last:
            return  # the end of one that was reset here meanwhile (RFC 9113, 5.1)
        self._last = number
        if len(self._streams) >= MOST_STREAMS:
            self._out.put(Kind.RST_STREAM, 0, number, Code.REFUSED_STREAM.to_bytes(4))
            return
        stream = self._streams[number] = Stream(number, self, self._tasks, (self._out.stream_window, STREAM_WINDOW))
        stream.begin(self._calls.get(path), path)
        if flags & frames.END_STREAM:
            stream.hear(b"", ends=True)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "what goes on has not begun")
        _, first, block = self._block
        block += payload
        if len(block) > frames.HEADER_BYTES or not payload:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a head is too large")
        self._block = None if flags & frames.END_HEADERS else (number, first, block)
        if self._block is None:
            self._headers(first & frames.END_STREAM | frames.END_HEADERS, number, block)

    def _rst_stream(self, _: int, number: int, __: bytes) -> None:
        stream = self._streams.pop(number, None)
        if stream is None and (not number or number > self._last):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the end of a stream that has not begun")
        if stream is not None:
            self._drop(stream)

    def _settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        window = frames.read_settings(payload).get(Setting.INITIAL_WINDOW_SIZE)
        if window is not None:
            more, self._out.stream_window = window - self._out.stream_window, window
            for stream in self._streams.values():
                self._out.widen(stream, more)
        self._out.put(Kind.SETTINGS, frames.ACK, 0)
        self._go_on()

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._out.put(Kind.PING, frames.ACK, 0, payload)
        elif payload == _LEAVING:
            self._has_told = True

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "credit of an odd length")
        stream = self._streams.get(number)
        if stream is not None or not number:
            self._out.widen(stream, int.from_bytes(payload) & frames.MOST_WINDOW)
        self._go_on()

    def _ignored(self, _: int, __: int, ___: bytes) -> None:
        """Priorities, the other side's leaving, and what is not known."""

    def _push_promise(self, _: int, __: int, ___: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client may not push")

    def credit(self, number: int, size_bytes: int) -> None:
        """Allow the other side so much more, on a stream or in all."""
        self._out.put(Kind.WINDOW_UPDATE, 0, number, size_bytes.to_bytes(4))

    def send(self, stream: Stream, parts: Iterable[bytes] = ()) -> None:
        """Send what is pending on a stream and these parts, as far as the windows allow."""
        if self._streams.get(stream.number) is not stream:
            return
        if not stream.has_head:
            stream.has_head = True
            self._out.put(Kind.HEADERS, frames.END_HEADERS, stream.number, HEAD)
        try:
            self._out.add(stream, parts)
        except ConnectionFault as fault:
            self._leave(fault)
        if not stream.pending and stream.trailers is not None:
            self._end(stream, stream.trailers)
        if not self._is_reading:
            self._flush()

    def _end(self, stream: Stream, trailers: bytes) -> None:
        """All is said."""
        self._out.put(Kind.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream.number, trailers)
        if not stream.is_ended_there:
            self._reset(stream, Code.NO_ERROR)
        else:
            self._drop(stream)

    def _reset(self, stream: Stream, code: Code) -> None:
        """Break a stream off."""
        self._out.put(Kind.RST_STREAM, 0, stream.number, code.to_bytes(4))
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream."""
        self._streams.pop(stream.number, None)
        self._out.drop(stream)
        stream.close()

    def _go_on(self) -> None:
        """Send what waited for the windows."""
        for stream in self._out.blocked():
            self.send(stream)

    def drain(self) -> None:
        """Say that no more is to be asked here; what is under way goes on, then the connection ends."""
        self._is_leaving = True
        self._out.put(Kind.GOAWAY, 0, 0, frames.MOST_WINDOW.to_bytes(4) + Code.NO_ERROR.to_bytes(4))
        self._out.put(Kind.PING, 0, 0, _LEAVING)
        self._flush()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def _leave(self, fault: ConnectionFault) -> None:
        """End by the other side's fault."""
        log.warning("a gateway broke the protocol, its connection is closed: %s", fault.message)
        self._out.put(Kind.GOAWAY, 0, 0, self._last.to_bytes(4) + fault.code.to_bytes(4))
        for stream in tuple(self._streams.values()):
            self._drop(stream)
        self._is_gone = True

    def _flush(self) -> None:
        """Hand over all that is to be sent."""
        out, transport = self._out.take(), self._transport
        if transport is not None:
            if out:
                transport.write(out)
            if self._is_gone or (self._is_leaving and self._has_told and not self._streams):
                transport.close()


_TAKES: Final[Mapping[int, Callable[[Connection, int, int, bytes], None]]] = {
    Kind.DATA: Connection._data,
    Kind.HEADERS: Connection._headers,
    Kind.RST_STREAM: Connection._rst_stream,
    Kind.SETTINGS: Connection._settings,
    Kind.PUSH_PROMISE: Connection._push_promise,
    Kind.PING: Connection._ping,
    Kind.WINDOW_UPDATE: Connection._window_update,
    Kind.CONTINUATION: Connection._continuation,
}
