"""A client's JSON body before its fields are read: no number that cannot be held, and no half letters."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.doubles import all_fit
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, invalid_request
from ollama_proxyd.dialects.framing.lenient import without_half_letters

T = TypeVar("T")


def received(body: bytes, parse: Callable[[bytes], T]) -> T:
    """What a parser makes of a body, half a surrogate pair in it read as U+FFFD.

    Only a body that is refused, or may hold one as bytes, is searched: to do so takes as long as to read it.
    """
    if b"\xed" in body:
        body = without_half_letters(body)
    try:
        return _checked(body, parse)
    except ProxyError as error:
        if error.kind is ErrorKind.TOO_LARGE:
            raise
        mended = without_half_letters(body)
        if mended == body:
            raise
    return _checked(mended, parse)


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
