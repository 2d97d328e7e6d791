"""Newline-delimited JSON: the ends of its frames, and what is in them."""

from collections.abc import Iterator

import msgspec

from ollama_proxyd.dialects.framing.lenient import is_object
from ollama_proxyd.dialects.framing.splitter import FrameSplitter

ENDS = (b"\n",)

_ERROR = b"error:"
"""How llama-server and others write an error into any stream."""

_ALONE = (b"{\n", b"{\r")
"""How an object begins that is written over several lines."""


def frames(block: bytes) -> list[bytes]:
    """The lines of a block with their ends; clients find none at a CR alone."""
    return [line[:-1] + b"\n" if line.endswith(b"\r") else line for line in block.splitlines(keepends=True)]


def framed(payload: bytes) -> bytes:
    """A payload as a line."""
    return payload + b"\n"


def lines(block: bytes) -> Iterator[bytes]:
    """The lines of a block without their ends, an error's as {"error": …}; empty ones are left out."""
    return (_payload(line) for line in block.splitlines() if line.strip())


def _payload(line: bytes) -> bytes:
    if not line.startswith(_ERROR):
        return line
    said = line.removeprefix(_ERROR).strip()
    return b'{"error":' + (said if is_object(said) else msgspec.json.encode(said.decode(errors="replace"))) + b"}"


class LineSplitter(FrameSplitter):
    """Lines; an object that an engine spreads over several becomes one, for no text in JSON holds a line's end."""

    def __init__(self) -> None:
        super().__init__(ENDS)
        self._open = bytearray()
        """The object that was begun by a line of its own."""

    def feed(self, chunk: bytes) -> bytes:
        """All lines that are whole now, as one block."""
        block = super().feed(chunk)
        if not self._open and not block.startswith(_ALONE) and not any(b"\n" + alone in block for alone in _ALONE):
            return block
        return b"".join(map(self._joined, block.splitlines(keepends=True)))

    def remainder(self) -> bytes:
        """What came after the last whole frame."""
        return bytes(self._open) + super().remainder()

    def _joined(self, line: bytes) -> bytes:
        """What is whole with this line."""
        if not (self._open or line.startswith(_ALONE)):
            return line
        if self._open and line.startswith(b"{") and is_object(line):
            return self._closed() + line  # what was begun is torn
        self._open += line
        if len(self._open) > self._max_frame_bytes:
            raise self._too_long()
        if not line.startswith(b"}"):
            return b""
        return self._closed()

    def _closed(self) -> bytes:
        """What was begun, as one line."""
        whole = b" ".join(self._open.splitlines()) + b"\n"
        self._open.clear()
        return whole
