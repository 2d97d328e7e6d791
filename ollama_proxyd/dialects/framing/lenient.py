"""An engine's JSON read as far as it makes sense: what cannot be read of it counts as absent."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, readable

T = TypeVar("T")

_JSON_SPACE = " \t\r\n"
_MOST_DIGITS = 400
"""Beyond the largest double; Python refuses to read some thousands."""

_HALF_LETTERS = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
    rb"|(\xed[\xa0-\xbf][\x80-\xbf])",
    re.DOTALL,
)
"""Every escape, so that none is looked for inside another; a half surrogate pair as escape or as bytes is a group."""

_HALF_IN_BYTES = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


PIECE_BYTES = 256 * 1024
"""Expressions look at so much at once: while one does, no other thread works, however large the text is."""
_LONGEST_ESCAPE = 12
"""That of a surrogate pair."""
_STEP = 4096


def without_half_letters(text: bytes) -> bytes:
    """The JSON text with U+FFFD in the place of each half surrogate pair; the same object where there is none."""
    if not _may_have_halves(text) and b"\xed" not in text:
        return text
    pieces = [text[begin:end] for begin, end in pairwise(_cuts(text))]
    mended = [_mended(piece) for piece in pieces]
    return text if mended == pieces else b"".join(mended)


def _may_have_halves(text: bytes) -> bool:
    """Whether one may stand there as an escape; searched from the end, which CPython does three times faster."""
    return b"\\" in text and (text.rfind(b"\\ud") >= 0 or text.rfind(b"\\uD") >= 0)


def _mended(piece: bytes) -> bytes:
    if not _may_have_halves(piece) and not _HALF_IN_BYTES.search(piece):
        return piece
    if len(piece) > 2 * PIECE_BYTES:
        return b"".join(_mended_by_steps(piece))
    return _HALF_LETTERS.sub(lambda found: _REPLACEMENT if found.lastindex else found[0], piece)


def _mended_by_steps(piece: bytes) -> Iterator[bytes]:
    """The same for a piece of any length, full of escapes: to join millions of them is a long step as well."""
    at, parts = 0, list[bytes]()
    for found in _HALF_LETTERS.finditer(piece):
        if found.lastindex:
            parts += (piece[at : found.start()], _REPLACEMENT)
            at = found.end()
            if len(parts) > _STEP:
                yield b"".join(parts)
                parts.clear()
    yield b"".join((*parts, piece[at:]))


def _cuts(text: bytes) -> Iterator[int]:
    """Where a text can be cut into pieces: after no escape for the length of one, and inside no letter.

    Where there are escapes at every step no place is found, and none is needed: each escape is a step by itself.
    """
    at = 0
    while at < len(text):
        yield at
        at += PIECE_BYTES
        while b"\\" in (before := text[at - _LONGEST_ESCAPE : at]) or b"\xed" in before[-2:]:
            at += _STEP if b"\\" in before else 1
    yield len(text)


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def _number(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_LOOSE = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=lambda _: None, strict=False)


def loosely(text: bytes) -> dict[str, Json] | None:
    """The object that a text is, with null for numbers that cannot be; None where it is no object."""
    begun = begun_with(text)
    return begun[0] if begun is not None and not begun[1] else None


def begun_with(text: bytes) -> tuple[dict[str, Json], str] | None:
    """The object that a text begins with, and what stands behind it; None where there is none."""
    written = without_half_letters(text).decode("utf-8-sig", errors="replace").strip(_JSON_SPACE)
    try:
        value, end = _LOOSE.raw_decode(written)
    except (ValueError, RecursionError):
        return None
    return (value, written[end:].lstrip(_JSON_SPACE)) if isinstance(value, dict) else None


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def fields_of(text: bytes) -> Mapping[str, Json] | None:
    """The members of the object that a text is, their values perhaps unread; None where it is no object."""
    fields = readable(_FIELDS, text)
    return loosely(text) if fields is None else fields


class Pieces(NamedTuple):
    """What a text holds where one frame should be."""

    objects: list[bytes]
    """Each as strict JSON; several where frames were glued together."""
    is_all: bool
    """Whether the text is made of them alone, and nothing of it was left out."""


_BETWEEN = re.compile(r"\s*(?:data[ \t]*:)?\s*")


def pieces_in(text: bytes) -> Pieces:
    """The objects that a text begins with, as far as they can be read."""
    if readable(_FIELDS, text) is not None and is_utf8(text):
        return Pieces([text], is_all=True)
    written = without_half_letters(text).decode("utf-8-sig", errors="replace").strip()
    at = _after_gap(written, 0)
    found: list[dict[str, Json]] = []
    while at < len(written):
        try:
            value, end = _LOOSE.raw_decode(written, at)
        except (ValueError, RecursionError):
            break
        objects = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
        if not objects:
            break
        found += objects
        at = _after_gap(written, end)
    return Pieces([msgspec.json.encode(each) for each in found], at >= len(written))


def _after_gap(written: str, at: int) -> int:
    gap = _BETWEEN.match(written, at)
    return gap.end() if gap else at


def is_utf8(text: bytes) -> bool:
    """Whether a text is valid UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_object(text: bytes) -> bool:
    """Whether a text is one JSON object."""
    return fields_of(text) is not None


def read(decoder: msgspec.json.Decoder[T], text: bytes) -> T | None:
    """What the decoder makes of an object, without the fields that it cannot read; None where nothing can be read."""
    value = readable(decoder, text)
    if value is not None:
        return value
    loose = loosely(text)
    if loose is None:
        return None
    try:
        fitted: T = _fitted(loose, decoder.type)
    except UNREADABLE:
        return None
    else:
        return fitted


def _fitted(value: Json, kind: Any) -> Any:
    """The value as its type, objects without the fields that do not fit; numbers and truth may be written as text."""
    if kind is msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for option in options:
        if isinstance(value, dict) and isinstance(option, type) and issubclass(option, msgspec.Struct):
            return _struct(value, option)
        items = get_args(option)
        if isinstance(value, list | dict) and items and _is_struct(items[0]):
            return get_origin(option)(_those_that_fit(listed(value), items[0]))
    return msgspec.convert(value, kind, strict=False)


def listed(value: list[Json] | dict[str, Json]) -> list[Json]:
    """The value as a list; an object where several belong is the only one of them."""
    return value if isinstance(value, list) else [value]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct(value: dict[str, Json], kind: type[msgspec.Struct]) -> msgspec.Struct:
    found = {}
    for field in msgspec.structs.fields(kind):
        if field.name in value:
            try:
                found[field.name] = _fitted(value[field.name], field.type)
            except UNREADABLE:
                continue
    try:
        return kind(**found)
    except TypeError as error:
        raise msgspec.ValidationError(str(error)) from error


def _those_that_fit(values: list[Json], kind: Any) -> list[Any]:
    found = []
    for value in values:
        try:
            found.append(_fitted(value, kind))
        except UNREADABLE:
            continue
    return found
