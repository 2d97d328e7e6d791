"""A client's JSON body before its fields are read: no number that cannot be held, and no half letters."""

import json
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, invalid_request
from ollama_proxyd.dialects.framing.lenient import without_half_letters

T = TypeVar("T")

MOST_CHECKED_BYTES = 2 * 1024 * 1024
"""In a larger body only the digits are looked at: reading its numbers would keep other requests waiting."""

_MOST_DIGITS = 308
"""As many as the largest double has."""

_STEP = 30
_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % (_MOST_DIGITS // _STEP))
"""In every thirtieth byte of a body: a longer number has as many there, and looking at each byte takes too long."""

_ANYTHING = msgspec.json.Decoder()


def _check_digits(digits: str) -> None:
    if len(digits) > _MOST_DIGITS:
        raise OverflowError


_DIGITS = json.JSONDecoder(parse_int=_check_digits, parse_float=_check_digits, strict=False)


def received(body: bytes, parse: Callable[[bytes], T]) -> T:
    """What a parser makes of a body, half a surrogate pair in it read as U+FFFD.

    Only a body that is refused, or may hold one as bytes, is searched: to do so takes as long as to read it.
    """
    if b"\xed" in body:
        body = without_half_letters(body)
    try:
        return _checked(body, parse)
    except ProxyError:
        mended = without_half_letters(body)
        if mended == body:
            raise
    return _checked(mended, parse)


def _checked(body: bytes, parse: Callable[[bytes], T]) -> T:
    if not _numbers_fit(body):
        _refuse(body)
    return parse(body)


def _numbers_fit(text: bytes) -> bool:
    """Whether a double holds every number; a text that is no JSON is for others to refuse."""
    try:
        if len(text) <= MOST_CHECKED_BYTES:
            _ANYTHING.decode(text)
        if _MANY_DIGITS.search(text[::_STEP]):
            _DIGITS.decode(text.decode(errors="replace"))
    except (msgspec.ValidationError, OverflowError):
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return True
    return True


def _refuse(body: bytes) -> NoReturn:
    """Raise INVALID_REQUEST that names the field, where it is one of an object."""
    fields = decode_fields(body)
    name = next((name for name, raw in fields.items() if not _numbers_fit(bytes(raw))), None)
    shown = name[:40] if name else "the request body"
    raise invalid_request(f"invalid value for '{shown}': it holds a number that no double holds", name and name[:40])
