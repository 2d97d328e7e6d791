"""Splits a byte stream into whole frames, wherever the transport broke it."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError

MAX_FRAME_BYTES = 16 * 1024 * 1024


class FrameSplitter:
    """Keeps the unfinished end of what was fed until the rest of its frame comes.

    `ends` are the ways in which a frame can end, the commonest first.
    """

    def __init__(self, ends: tuple[bytes, ...], max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._ends = ends
        self._max_frame_bytes = max_frame_bytes
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """All frames that are whole now, as one block; b"" when none is."""
        if len(self._rest) + chunk.find(self._ends[0]) > self._max_frame_bytes:
            raise self._too_long()
        if not self._rest and chunk.endswith(self._ends[0]):
            return chunk
        seen = max(0, len(self._rest) - max(map(len, self._ends)) + 1)
        self._rest += chunk
        cut = 0
        for end in self._ends:
            at = self._rest.rfind(end, seen)
            cut = max(cut, at + len(end)) if at >= 0 else cut
        block = bytes(memoryview(self._rest)[:cut])
        del self._rest[:cut]
        if len(self._rest) > self._max_frame_bytes:
            raise self._too_long()
        return block

    def remainder(self) -> bytes:
        """What came after the last whole frame."""
        return bytes(self._rest)

    def _too_long(self) -> ProxyError:
        message = f"the backend sent a frame longer than the limit of {self._max_frame_bytes} bytes"
        return ProxyError(ErrorKind.UPSTREAM_FAILED, message)
