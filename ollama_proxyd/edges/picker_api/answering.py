"""What is seen of an answer that passes through the gateway: when it began, and how it ended."""

from collections import deque

from ollama_proxyd.core.events import Finished, Usage
from ollama_proxyd.dialects.base import Dialect
from ollama_proxyd.services.carried import Carried

MOST_WHOLE_BYTES = 1024 * 1024
"""The tokens of a larger answer in one piece, such as vectors, are not read."""
TAIL_BYTES = 16 * 1024
"""So much at the end of a stream tells its tokens."""


class Answering:
    """An answer on its way."""

    def __init__(self, carried: Carried, dialect: Dialect) -> None:
        self._carried = carried
        self._dialect = dialect
        self._is_stream = False
        self._is_plain = True
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._frames = 0
        self._has_words = False

    def begin(self, status: int, content_type: str, encoding: str, served: str | None) -> None:
        """Its head has come."""
        self._is_stream = content_type.partition(";")[0].strip().lower() == self._dialect.stream_type
        self._is_plain = encoding in {"", "identity"}
        self._carried.begun(status, served)

    def hear(self, piece: bytes) -> None:
        """A piece of it has come."""
        if not piece:
            return
        self._has_words = True
        self._carried.heard()
        if not self._is_plain:
            return
        self._frames += piece.count(self._dialect.frame_mark) if self._is_stream else 0
        self._kept.append(piece)
        self._kept_bytes += len(piece)
        most = TAIL_BYTES if self._is_stream else MOST_WHOLE_BYTES
        while self._kept_bytes > most and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft())
            self._is_plain = self._is_stream

    def end(self) -> None:
        """It has ended by itself."""
        self._carried.end(self._finished())

    def leave(self) -> None:
        """The gateway asks no more: the answer has ended, as far as it was to be seen, or its client has left."""
        self._carried.end(None, is_cut=self._has_words)

    def _finished(self) -> Finished:
        if not self._is_plain or not self._kept:
            return Finished(usage=Usage())
        text = b"".join(self._kept)
        if not self._is_stream:
            return self._dialect.answer_ending(text).finished
        return self._dialect.stream_ending(text[-TAIL_BYTES:], self._frames).finished
