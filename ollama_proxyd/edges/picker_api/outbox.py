"""What is sent on a connection of HTTP/2: frames in their order, bodies as far as the other side's windows allow."""

from collections.abc import Iterable
from typing import Final

from ollama_proxyd.edges.picker_api.frames import FRAME_BYTES, MOST_WINDOW, Code, ConnectionFault, Kind, frame
from ollama_proxyd.edges.picker_api.streams import Stream

FIRST_WINDOW: Final = 65_535
MOST_PENDING_BYTES: Final = 64 * 1024 * 1024
"""A gateway that takes less than it asks for is left."""


class Outbox:
    """The frames that are to be sent, and what waits for a window."""

    def __init__(self) -> None:
        self.stream_window = FIRST_WINDOW
        """The window of new streams."""
        self._window = FIRST_WINDOW
        self._frames: list[bytes] = []
        self._blocked: dict[Stream, None] = {}
        self._pending_bytes = 0

    def put(self, kind: int, flags: int, number: int, payload: bytes = b"") -> None:
        """Send a frame."""
        self._frames.append(frame(kind, flags, number, payload))

    def add(self, stream: Stream, parts: Iterable[bytes]) -> None:
        """Send these parts of a body after what is pending; raises ConnectionFault where too much is."""
        pending = stream.pending
        for each in parts:
            pending.append(each)
            self._pending_bytes += len(each)
        while pending and (room := min(self._window, stream.window, FRAME_BYTES)) > 0:
            part = pending.popleft()
            if len(part) > room:
                pending.appendleft(part[room:])
                part = part[:room]
            size = len(part)
            self._window -= size
            stream.window -= size
            self._pending_bytes -= size
            self._frames.append(frame(Kind.DATA, 0, stream.number, part))
        if pending:
            self._blocked[stream] = None
            if self._pending_bytes > MOST_PENDING_BYTES:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "it takes fewer answers than it asks for")

    def drop(self, stream: Stream) -> None:
        """Nothing more of a stream is sent."""
        self._blocked.pop(stream, None)
        self._pending_bytes -= sum(map(len, stream.pending))
        stream.pending.clear()

    def widen(self, stream: Stream | None, more: int) -> None:
        """The other side takes so much more, on a stream or in all; raises ConnectionFault."""
        if stream is None:
            self._window += more
        else:
            stream.window += more
        if max(self._window, 0 if stream is None else stream.window) > MOST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window is too large")

    def blocked(self) -> Iterable[Stream]:
        """The streams that waited for a window; they may try again."""
        waited, self._blocked = self._blocked, {}
        return waited

    def take(self) -> bytes:
        """All that is to be sent."""
        taken = b"".join(self._frames)
        self._frames.clear()
        return taken
