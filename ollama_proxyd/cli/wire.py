"""D-Bus values as bytes and back: the little that commands need, since a library takes longer to load than they run."""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
"""Types of a fixed size, as `struct` writes them."""
ALIGNMENT = {code: struct.calcsize(form) for code, form in FIXED.items()} | {
    "s": 4,
    "o": 4,
    "g": 1,
    "v": 1,
    "a": 4,
    "(": 8,
    "{": 8,
}
MAX_DEPTH = 64
"""How deep values may be nested; the protocol says so."""


class Variant(NamedTuple):
    """A value that is sent together with its type."""

    signature: str
    value: Any


def complete_types(signature: str) -> Iterator[str]:
    """The types of a signature one by one: "sa{sv}" has two."""
    at = 0
    while at < len(signature):
        end = _end(signature, at)
        yield signature[at:end]
        at = end


def _end(signature: str, at: int) -> int:
    """Where the type that begins here ends."""
    if signature[at] == "a":
        return _end(signature, at + 1)
    if signature[at] in "({":
        at += 1
        while signature[at] not in ")}":
            at = _end(signature, at)
    return at + 1


def aligned(at: int, alignment: int) -> int:
    """The next multiple."""
    return at + -at % alignment


class Writer:
    """Appends values in little-endian order; `data` is what was written so far."""

    def __init__(self) -> None:
        self.data = bytearray()

    def pad(self, alignment: int) -> None:
        """Go on at the next multiple."""
        self.data += bytes(-len(self.data) % alignment)

    def write(self, signature: str, values: Iterable[Any]) -> None:
        """Append one value for each type of the signature."""
        for kind, value in zip(complete_types(signature), values, strict=True):
            self._value(kind, value)

    def _value(self, kind: str, value: Any) -> None:
        code = kind[0]
        self.pad(ALIGNMENT[code])
        if code in FIXED:
            self.data += struct.pack(f"<{FIXED[code]}", value)
        elif code in "sog":
            content = value.encode()
            self.data += struct.pack("<B" if code == "g" else "<I", len(content)) + content + b"\0"
        elif code == "v":
            self.write(f"g{value.signature}", value)
        elif code == "a":
            self._array(kind[1:], value.items() if isinstance(value, dict) else value)
        else:
            self.write(kind[1:-1], value)

    def _array(self, kind: str, values: Iterable[Any]) -> None:
        length_at = len(self.data)
        self.data += bytes(4)
        self.pad(ALIGNMENT[kind[0]])
        start = len(self.data)
        for value in values:
            self._value(kind, value)
        self.data[length_at : length_at + 4] = struct.pack("<I", len(self.data) - start)


class Reader:
    """Takes values from the bytes of one message; variants become their values, dictionaries `dict`, structs tuples.

    Raises ValueError for bytes that are no such values.
    """

    def __init__(self, data: bytes, order: str = "<") -> None:
        self._data = data
        self._order = order
        self._at = 0
        self._depth = 0

    def read(self, signature: str) -> tuple[Any, ...]:
        """One value for each type of the signature."""
        try:
            return tuple(self._value(kind) for kind in complete_types(signature))
        except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"not a D-Bus message: {error}") from None

    def _value(self, kind: str) -> Any:
        code = kind[0]
        self._at = aligned(self._at, ALIGNMENT[code])
        if code in FIXED:
            value = self._number(FIXED[code])
            return bool(value) if code == "b" else value
        if code in "sog":
            return self._text(self._number("B" if code == "g" else "I"))
        return self._nested(kind)

    def _nested(self, kind: str) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"not a D-Bus message: more than {MAX_DEPTH} levels deep")
        try:
            if kind[0] == "v":
                return self._value(self._value("g"))
            return self._array(kind[1:]) if kind[0] == "a" else self.read(kind[1:-1])
        finally:
            self._depth -= 1

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"{self._order}{form}", self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _text(self, length: int) -> str:
        end = self._at + length
        if end >= len(self._data):
            raise ValueError("not a D-Bus message: it ends within a text")
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def _array(self, kind: str) -> Any:
        length = self._number("I")
        self._at = aligned(self._at, ALIGNMENT[kind[0]])
        end = self._at + length
        values = []
        while self._at < end:
            values.append(self._value(kind))
        return dict(values) if kind[0] == "{" else values
