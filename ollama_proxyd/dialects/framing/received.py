"""A client's JSON body before its fields are read: no number that cannot be held, in UTF-8, and no half letters."""

from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import NoReturn, TypeVar

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.doubles import all_fit
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, invalid_request
from ollama_proxyd.dialects.framing.lenient import PIECE_BYTES, without_half_letters

T = TypeVar("T")


def received(body: bytes, parse: Callable[[bytes], T]) -> T:
    """What a parser makes of a body, half a surrogate pair and bytes that are not UTF-8 in it read as U+FFFD.

    Engines fail over such bytes in a text that passes unread, and would be blamed for it. Escapes are searched only in
    a body that is refused: to do so takes as long as to read it.
    """
    if not _is_utf8(body):
        body = without_half_letters(body).decode(errors="replace").encode()
    try:
        return _checked(body, parse)
    except ProxyError as error:
        if error.kind is ErrorKind.TOO_LARGE:
            raise
        mended = without_half_letters(body)
        if mended == body:
            raise
    return _checked(mended, parse)


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    decoder = getincrementaldecoder("utf-8")()
    try:
        for begin in range(0, len(body), PIECE_BYTES):
            decoder.decode(body[begin : begin + PIECE_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _checked(body: bytes, parse: Callable[[bytes], T]) -> T:
    if not all_fit(body):
        _refuse(body)
    return parse(body)


def _refuse(body: bytes) -> NoReturn:
    """Raise INVALID_REQUEST that names the field, where it is one of an object."""
    fields = decode_fields(body)
    name = next((name for name, raw in fields.items() if not all_fit(bytes(raw))), None)
    shown = name[:40] if name else "the request body"
    raise invalid_request(f"invalid value for '{shown}': it holds a number that no double holds", name and name[:40])
