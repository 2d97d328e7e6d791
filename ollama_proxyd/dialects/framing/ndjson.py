"""Splits a stream of newline-delimited JSON into whole lines, wherever the transport broke it."""

from collections.abc import Iterator

from ollama_proxyd.core.errors import ErrorKind, ProxyError

MAX_LINE_BYTES = 16 * 1024 * 1024


class NdjsonSplitter:
    """Keeps the unfinished end of what was fed until its newline comes."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        self._held_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """All lines that are whole by now, as one block that ends with a newline, or b""."""
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            self._hold(chunk)
            return b""
        self._check(self._held_bytes + chunk.find(b"\n"))
        if end == len(chunk) and not self._pieces:
            return chunk
        self._pieces.append(chunk[:end])
        block = b"".join(self._pieces)
        self._pieces, self._held_bytes = [], 0
        self._hold(chunk[end:])
        return block

    def remainder(self) -> bytes:
        """What came after the last newline: a last line without one, or a line that broke off."""
        return b"".join(self._pieces)

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._held_bytes += len(piece)
            self._check(self._held_bytes)

    def _check(self, line_bytes: int) -> None:
        if line_bytes > self._max_line_bytes:
            raise ProxyError(
                ErrorKind.UPSTREAM_FAILED,
                f"the backend sent a line longer than the limit of {self._max_line_bytes} bytes",
            )


def lines(block: bytes) -> Iterator[bytes]:
    """The lines of a block without their ends; empty ones are left out."""
    return (line for line in block.splitlines() if line.strip())
