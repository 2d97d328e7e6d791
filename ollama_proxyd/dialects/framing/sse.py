"""Server-sent events: splits a byte stream into whole events, and reads the data of each event."""

from ollama_proxyd.core.errors import ErrorKind, ProxyError

MAX_EVENT_BYTES = 16 * 1024 * 1024
_LONGEST_SEPARATOR_BYTES = 4
"""The blank line and the end of the line before it: CR LF CR LF."""


class SseSplitter:
    """Collects transport chunks and hands out whole events, untouched."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._rest = bytearray()
        self._max_event_bytes = max_event_bytes

    def feed(self, chunk: bytes) -> bytes:
        """All events that are whole now, as one block; b"" when none is."""
        if not self._rest:
            if chunk.endswith(b"\n\n"):
                return chunk
            cut = _end_of_events(chunk, 0)
            if cut == len(chunk):
                return chunk
            self._keep(chunk[cut:])
            return chunk[:cut]
        seen = max(0, len(self._rest) - _LONGEST_SEPARATOR_BYTES + 1)
        self._keep(chunk)
        cut = _end_of_events(self._rest, seen)
        block = bytes(memoryview(self._rest)[:cut])
        del self._rest[:cut]
        return block

    def remainder(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._rest)

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._max_event_bytes:
            raise ProxyError(
                ErrorKind.UPSTREAM_FAILED, f"the backend sent an event of more than {self._max_event_bytes} bytes"
            )
        self._rest += part


def _end_of_events(data: bytes | bytearray, start: int) -> int:
    """Where the last blank line at or after `start` ends, 0 when there is none."""
    newline = data.rfind(b"\n\n", start)
    return_newline = data.rfind(b"\n\r\n", start)
    return max(newline + 2 if newline >= 0 else 0, return_newline + 3 if return_newline >= 0 else 0)


def events(block: bytes) -> list[bytes]:
    """The data of each event in a block; comments and other fields are skipped."""
    found: list[bytes] = []
    data: list[bytes] = []
    for line in block.splitlines():
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line and data:
            found.append(b"\n".join(data))
            data = []
    if data:
        found.append(b"\n".join(data))
    return found
