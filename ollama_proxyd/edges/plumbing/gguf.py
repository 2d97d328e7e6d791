"""The header of a GGUF file, read within bounds; its weights are never touched.

The package `gguf` would need numpy (73 MB on disk), maps the whole file, and makes an array of each token of the
vocabulary: 536 MB of memory and 9 s for a model of 152,000 tokens, where this takes 1 MB and a quarter of a second.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from ollama_proxyd.core.gguf import TENSOR_TYPES, GgufFacts, Tensor, facts_of
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.text import cut, printable

MOST_KEYS: Final = 4096
MOST_TENSORS: Final = 65_536
MOST_FILES: Final = 256
MOST_ELEMENTS: Final = 8_000_000
"""Of all arrays together; a vocabulary of 262,144 tokens has about a million."""
MOST_KEPT: Final = 4096
"""Longer arrays are only counted."""
MOST_NAME_BYTES: Final = 65_535
MOST_TEXT_BYTES: Final = 4096
"""Longer texts, such as templates of chats, are skipped."""
MOST_HEADER_BYTES: Final = 256 * 1024 * 1024

_MAGIC: Final = b"GGUF"
_STRING, _ARRAY = 8, 9
_NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SPLIT: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


class GgufError(ValueError):
    """Why a file cannot be read, in a sentence."""


class _Part(NamedTuple):
    """One file of a model."""

    metadata: dict[str, object]
    tensors: list[Tensor]


def read_gguf(path: Path) -> GgufFacts:
    """The facts of the model in a file, or in the parts of which this is one; GgufError where it cannot be read."""
    parts = _parts(path)
    try:
        return facts_of(parts[0].metadata, [each for part in parts for each in part.tensors], len(parts))
    except ValueError as error:
        raise GgufError(f"{error}, in {_shown(path)}") from error


def model_info(path: Path) -> dict[str, Json]:
    """What a file says of its model, under GGUF's names, without the vocabulary; GgufError likewise."""
    parts = _parts(path)
    told = {key: value for key, value in parts[0].metadata.items() if _is_told(key, value)}
    return {**told, "general.parameter_count": sum(each.parameters for part in parts for each in part.tensors)}


def _parts(path: Path) -> list[_Part]:
    """All files of a model in their order."""
    first = _read(path)
    return [first if each == path else _read(each) for each in _siblings(path, first)]


def _is_told(key: str, value: object) -> bool:
    return isinstance(value, int | float | str | list) and not key.startswith(("tokenizer.", "split."))


def _siblings(path: Path, part: _Part) -> list[Path]:
    """All files of the model in their order, by the names that llama-gguf-split gives."""
    count = part.metadata.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return [path]
    match = _SPLIT.fullmatch(path.name)
    if count > MOST_FILES or match is None or int(match["count"]) != count:
        raise GgufError(f"it is part of {count} files, and its name does not say so, in {_shown(path)}")
    return [path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _opened(path: Path) -> BinaryIO:
    """The file, which is no pipe or device that would never end."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise GgufError(f"{getattr(error, 'strerror', None) or error}: {_shown(path)}") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise GgufError(f"it is no file: {_shown(path)}")
    return os.fdopen(number, "rb", buffering=256 * 1024)


def _read(path: Path) -> _Part:
    with _opened(path) as file:
        try:
            return _Reader(file).part()
        except (GgufError, struct.error, OSError) as error:
            why = str(error) if isinstance(error, GgufError) else "it is damaged"
            raise GgufError(f"{why}, in {_shown(path)}") from error


def _shown(path: Path) -> str:
    return printable(cut(str(path), 400))


class _Reader:
    """A cursor over one header, which never leaves the file nor the bounds."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._order = "<"
        self._elements = 0

    def part(self) -> _Part:
        """Its keys and tensors."""
        if self._bytes(4) != _MAGIC:
            raise GgufError("it does not begin with GGUF")
        version = self._number("I")
        if version & 0xFFFF == 0:  # the other order of bytes
            self._order, version = ">", version >> 24
        if version not in {2, 3}:
            raise GgufError(f"its version {version} is not known")
        tensors, keys = self._number("Q"), self._number("Q")
        if tensors > MOST_TENSORS or keys > MOST_KEYS:
            raise GgufError(f"it has {tensors} tensors and {keys} keys, which is too many")
        metadata = {self._name(): self._value(self._number("I")) for _ in range(keys)}
        return _Part(metadata, list(self._tensors(tensors, metadata)))

    def _tensors(self, count: int, metadata: dict[str, object]) -> Iterator[Tensor]:
        """Each tensor; what it takes is what lies between it and the next one, whatever its type."""
        heads = [self._head() for _ in range(count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 2**20:
            raise GgufError("its alignment is not known")
        begin = -(-self._file.tell() // alignment) * alignment
        whole = self._size - begin
        ends = dict.fromkeys(sorted({offset for *_, offset in heads}), whole)
        for offset, after in zip(ends, list(ends)[1:], strict=False):
            ends[offset] = after
        for name, kind, parameters, offset in heads:
            if offset > whole or (parameters and offset == whole):
                raise GgufError("it is cut short")
            yield Tensor(name, TENSOR_TYPES.get(kind, f"type {kind}"), parameters, ends[offset] - offset)

    def _head(self) -> tuple[str, int, int, int]:
        name, dimensions = self._name(), self._number("I")
        if dimensions > 8:
            raise GgufError(f"a tensor has {dimensions} dimensions")
        parameters = 1
        for _ in range(dimensions):
            parameters *= self._number("Q")
        if parameters > 2**48:
            raise GgufError("a tensor is too large")
        return name, self._number("I"), parameters, self._number("Q")

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._text()
        return self._array() if kind == _ARRAY else self._number(self._format(kind))

    def _array(self) -> object:
        """Its items, or of a long one only how many there are, as a range."""
        kind, count = self._number("I"), self._number("Q")
        self._elements += count
        if self._elements > MOST_ELEMENTS:
            raise GgufError("its arrays are too long")
        if kind == _ARRAY:
            raise GgufError("an array is in an array")
        if count <= MOST_KEPT:
            return [self._value(kind) for _ in range(count)]
        if kind == _STRING:
            self._skip_texts(count)
        else:
            self._skip(count * struct.calcsize("<" + self._format(kind)))
        return range(count)

    def _skip_texts(self, count: int) -> None:
        """Go over the tokens of a vocabulary, of which there are hundreds of thousands."""
        unpack, read, seek = struct.Struct(self._order + "Q").unpack, self._file.read, self._file.seek
        for _ in range(count):
            (length,) = unpack(read(8))
            if length > MOST_NAME_BYTES:
                raise GgufError("a token is too long")
            seek(length, os.SEEK_CUR)
        self._skip(0)

    def _format(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise GgufError(f"a key has the unknown type {kind}")
        return _NUMBERS[kind]

    def _number(self, form: str) -> int:
        packed = self._order + form
        value: int = struct.unpack(packed, self._bytes(struct.calcsize(packed)))[0]
        return value

    def _name(self) -> str:
        length = self._number("Q")
        if length > MOST_NAME_BYTES:
            raise GgufError("a name is too long")
        return self._bytes(length).decode(errors="replace")

    def _text(self) -> str:
        """A text, "" where it is too long to be a fact."""
        length = self._number("Q")
        if length <= MOST_TEXT_BYTES:
            return self._bytes(length).decode(errors="replace")
        self._skip(length)
        return ""

    def _skip(self, length: int) -> None:
        if length > min(self._size, MOST_HEADER_BYTES) - self._file.tell():
            raise GgufError("it is cut short")
        self._file.seek(length, os.SEEK_CUR)

    def _bytes(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length or self._file.tell() > MOST_HEADER_BYTES:
            raise GgufError("it is cut short")
        return data
