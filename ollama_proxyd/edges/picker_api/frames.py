"""HTTP/2 as far as calls of gRPC need it: frames, settings and the heads of requests; RFC 9113 and 7541."""

from enum import IntEnum
from struct import Struct
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES: Final = 16_384
"""The largest frame that is taken: what each side may send where nothing else is agreed on."""
HEADER_BYTES: Final = 16_384
"""The most that the head of a request may have."""
MOST_HEADS: Final = 64
MOST_WINDOW: Final = 2**31 - 1
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


class Kind(IntEnum):
    """The kinds of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """The settings that matter here."""

    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):  # noqa: N818 - as HTTP/2 calls it
    """The other side broke the protocol; the connection ends."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_FRAME: Final = Struct(">IBI").pack
"""The head of a frame: its size and its kind, its flags, and its stream."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    return _FRAME(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """What a frame of settings carries."""
    return b"".join([name.to_bytes(2) + each.to_bytes(4) for name, each in values.items()])


def read_settings(payload: bytes) -> dict[int, int]:
    """What the other side says of itself; raises ConnectionFault."""
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "settings of an odd length")
    found = {
        int.from_bytes(payload[at : at + 2]): int.from_bytes(payload[at + 2 : at + 6])
        for at in range(0, len(payload), 6)
    }
    if found.get(Setting.INITIAL_WINDOW_SIZE, 0) > MOST_WINDOW:
        raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of streams is too large")
    if not FRAME_BYTES <= found.get(Setting.MAX_FRAME_SIZE, FRAME_BYTES) < 1 << 24:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "the size of frames is not allowed")
    return found


def unpadded(flags: int, payload: bytes, has_priority: int = 0) -> bytes:
    """What a frame carries; raises ConnectionFault."""
    before = 1 if flags & PADDED else 0
    after = payload[0] if before and payload else 0
    before += 5 if flags & has_priority else 0
    if before + after > len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than there is")
    return payload[before : len(payload) - after]


class HeadReader:
    """Reads the paths in the heads of requests; a head that changes nothing in the table of names is read once."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=HEADER_BYTES)
        self._paths: dict[bytes, str] = {}

    def path(self, block: bytes) -> str:
        """The path that a head asks for, "" where there is none; raises ConnectionFault."""
        known = self._paths.get(block)
        if known is not None:
            return known
        before = self._state()
        try:
            headers = self._decoder.decode(block, raw=True)
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "the head cannot be read") from error
        path = next((bytes(value).decode("ascii", "replace") for name, value, *_ in headers if name == b":path"), "")
        after = self._state()
        if after[:2] != before[:2] or after[2] is not before[2]:
            self._paths.clear()  # what numbers in heads mean has changed
        elif len(self._paths) < MOST_HEADS:
            self._paths[block] = path
        return path

    def _state(self) -> tuple[int, int, object]:
        """What heads refer to: how much of it there is, and the newest of it."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return table.maxsize, len(entries), entries[0] if entries else None
