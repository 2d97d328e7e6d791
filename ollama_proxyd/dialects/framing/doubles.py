"""Numbers that no double holds, found in a JSON text of any length.

Decoding is one step of C code that keeps all other threads waiting; a large text is looked at in pieces.
"""

import math
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

MOST_DECODED_BYTES = 2 * 1024 * 1024
"""Decoding is quicker by far; in a larger text it would keep other requests waiting."""
_ANYTHING = msgspec.json.Decoder()

_MOST_CHARACTERS = 308
"""As many digits as the largest double has."""
_STEP = 30
_PIECE_BYTES = 8192 * _STEP
_LONG_DIGITS = 210
"""With an exponent of two digits, a number of fewer is held by a double."""

_EXPONENTS = tuple(
    re.compile(
        rb"%b(?=[+0-9])(?:(?<=[0-9.]{10}%b)\+?[0-9]{3,}|\+?(?:0*[3-9][0-9]{2}|[0-9]{4,}))(?:[\s,\]}]|\Z)"
        % (letter, letter)
    )
    for letter in (b"e", b"E")
)
"""Below 300 a number needs ten digits before its exponent; two expressions, as a fixed first letter is found faster."""
_SAMPLES = _LONG_DIGITS // _STEP
_MANY_DIGITS = re.compile(rb"[0-9]{%d,}" % _SAMPLES)
"""In every thirtieth byte of a text: a long number has as many there, and looking at each byte takes too long."""
_IN_NUMBERS = b"0123456789.+-eE"
_MOST_SUSPECTS = 1_000_000
"""A body of nothing but such places would take half a minute; the engine reads what comes after so many."""


def all_fit(text: bytes) -> bool:
    """Whether a double holds every number of a JSON text; what is no JSON is for others to refuse."""
    if len(text) > MOST_DECODED_BYTES:
        return _pieces_fit(text)
    try:
        _ANYTHING.decode(text)
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return True
    return not _MANY_DIGITS.search(text[::_STEP]) or _pieces_fit(text)


def _pieces_fit(text: bytes) -> bool:
    """The same without decoding; digits inside strings are no number."""
    at, is_in_string, next_quote = 0, False, 0
    for place in islice(_suspects(text), _MOST_SUSPECTS):
        if (is_in_string and place < next_quote) or not _is_beyond(text, place):
            continue
        is_in_string ^= _has_odd_quotes(text, at, place)
        if not is_in_string:
            return False
        at, next_quote = place, text.find(b'"', place)
    return True


def _suspects(text: bytes) -> Iterator[int]:
    """Places within what may be such a number, in their order.

    Pieces overlap, so that what one cuts is whole in another.
    """
    last = -1
    for begin in range(0, len(text), _PIECE_BYTES):
        piece = text[begin : begin + _PIECE_BYTES + 2 * _LONG_DIGITS]
        found = [each.start() for pattern in _EXPONENTS for each in pattern.finditer(piece)]
        for each in _MANY_DIGITS.finditer(piece[::_STEP]):  # several numbers, with little between them, may look as one
            found += [sample * _STEP for sample in range(each.start(), each.end(), _SAMPLES)]
        for place in sorted(found):
            if place < _PIECE_BYTES + _LONG_DIGITS and begin + place > last:
                last = begin + place
                yield last


def _is_beyond(text: bytes, place: int) -> bool:
    """Whether the number around a place is too large or too long."""
    before, after = text[max(0, place - _MOST_CHARACTERS) : place], text[place : place + _MOST_CHARACTERS + 1]
    head = before[len(before.rstrip(_IN_NUMBERS)) :]
    number = head + after[: len(after) - len(after.lstrip(_IN_NUMBERS))]
    try:
        return len(number) > _MOST_CHARACTERS or math.isinf(float(number))
    except ValueError:
        return False  # it is within a string


def _has_odd_quotes(text: bytes, begin: int, end: int) -> bool:
    """Whether a string begins or ends between two places, and not both."""
    quotes = 0
    while begin < end:
        piece = text[begin : min(begin + _PIECE_BYTES, end)]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # it would cut an escape in two
            piece = text[begin : begin + len(piece) + 1]
        quotes += piece.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')
        begin += len(piece)
    return quotes % 2 == 1
