"""What passes from an engine to a client of its own API: objects that every client can read, odd ones mended."""

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Protocol, get_args, get_origin

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, readable
from ollama_proxyd.dialects.framing.lenient import is_utf8, listed, loosely

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A whole number that every client holds."""


class Passed(msgspec.Struct):
    """An object of an API as the strictest of its clients reads it.

    stand_ins: what takes the place of a required member that is absent or of another type.
    """

    stand_ins: ClassVar[Mapping[str, Json]] = {}

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The members once words that an engine wrote in another way are where clients look for them."""
        return told


class Form:
    """What the answers of one endpoint look like.

    `speaks`: the members of which a mended object has one that is not empty, else it says nothing.
    `around`: how the commonest frame begins and ends.
    """

    def __init__(
        self,
        kind: type[Passed],
        speaks: tuple[str, ...],
        around: tuple[bytes, bytes] = (b"", b""),
    ) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._speaks = speaks
        self._start, self._end = around
        self._start_bytes = len(self._start)

    def plain_frames(self, block: bytes) -> int:
        """How many frames a block is, each in the commonest form with one object that every client reads, 0 else."""
        # `in` takes five times as long as `find`, since it tries a number first
        if not self._end or not block.endswith(self._end) or block.find(b"\r") >= 0:
            return 0
        frames = block.split(self._end)
        try:
            for at in range(len(frames) - 1):
                frame = frames[at]
                if not frame.startswith(self._start) or frame.find(b"\n", self._start_bytes) >= 0:
                    return 0
                self._decoder.decode(frame[self._start_bytes :])
        except UNREADABLE:
            return 0
        return len(frames) - 1 if block.isascii() or is_utf8(block) else 0

    def is_strict(self, payload: bytes) -> bool:
        """Whether every client reads the object that a payload is."""
        return readable(self._decoder, payload) is not None and is_utf8(payload)

    def kept(self, payload: bytes, known: Mapping[str, Json]) -> bytes:
        """The object as every client reads it, or as it is where that cannot be."""
        return payload if self.is_strict(payload) else self.mended(payload, known) or payload

    def mended(self, payload: bytes, known: Mapping[str, Json]) -> bytes | None:
        """The object without what clients cannot read, None where it says nothing; `known` takes the place of names."""
        told = loosely(payload)
        if told is None:
            return None
        try:
            found = _mended(told, self._kind, known)
        except UNREADABLE:
            return None
        return msgspec.json.encode(found) if any(found.get(name) for name in self._speaks) else None


def _mended(told: dict[str, Json], kind: type[Passed], known: Mapping[str, Json]) -> dict[str, Json]:
    """The object with the members of its type as that has them; ValidationError where a required one is missing."""
    fields = msgspec.structs.fields(kind)
    named = {field.encode_name: known[field.encode_name] for field in fields if field.encode_name in known}
    told = {name: each for name, each in told.items() if each is not None or name not in named}
    found = dict(kind.prepared(named | told))
    for field in fields:
        name, is_odd = field.encode_name, False
        if name in found:
            try:
                found[name] = _fitted(found[name], field.type)
            except UNREADABLE:
                is_odd = True
                del found[name]
        if name in found or not (field.required or is_odd):
            continue
        if name in known or name in kind.stand_ins:
            found[name] = known.get(name, kind.stand_ins.get(name))
        elif field.required:
            raise msgspec.ValidationError(name)
    return found


def _fitted(value: Json, kind: Any) -> Json:
    """The value as its type: numbers may be written as text, and of a list remains what fits."""
    for option in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if isinstance(value, dict) and isinstance(option, type) and issubclass(option, Passed):
            return _mended(value, option, {})
        if isinstance(value, list | dict) and get_origin(option) is list and issubclass(get_args(option)[0], Passed):
            return _those_that_fit(listed(value), get_args(option)[0])
    fitted: Json = msgspec.convert(value, kind, strict=False)
    return fitted


def _those_that_fit(values: list[Json], kind: type[Passed]) -> list[Json]:
    found: list[Json] = []
    for value in values:
        if isinstance(value, dict):
            try:
                found.append(_mended(value, kind, {}))
            except UNREADABLE:
                continue
    return found


class PassedCalls(Protocol):
    """Tool calls in the frames of one stream that passes on."""

    def concern(self, block: bytes) -> bool:
        """Whether a block may have to be written anew."""

    def mended(self, payload: bytes) -> bytes:
        """The frame as clients need it; the same object where it is so already."""


class _WholeCalls:
    """Each call comes in one piece, so that none is mistaken for another's."""

    def concern(self, block: bytes) -> bool:  # noqa: ARG002 - see PassedCalls
        return False

    def mended(self, payload: bytes) -> bytes:
        return payload


WHOLE_CALLS = _WholeCalls()
