"""Reads small JSON bodies of the server's own routes: a wrong key or type is an error that says what was meant."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import decode_object

S = TypeVar("S", bound=msgspec.Struct)


def read_struct(body: bytes, kind: type[S]) -> S:
    """The body as a struct; ProxyError names the key that is unknown, missing or of the wrong type."""
    values = decode_object(body)
    check_keys(values, kind.__struct_fields__)
    return to_struct(values, kind)


def to_struct(values: Mapping[str, Json], kind: type[S], where: str = "") -> S:
    """Values whose keys are known as a struct; `where` is the key that holds them."""
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        name = f"{where}{path.rstrip('`')}".lstrip(".")
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{name or 'body'}: {problem}", param=name or None) from None


def check_keys(values: Mapping[str, Json], known: Collection[str], where: str = "") -> None:
    """Refuse a key that is not known, and name the nearest one that is."""
    for key in values:
        if key not in known:
            near = get_close_matches(key.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            name = f"{where}.{key}" if where else key
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"unknown key {name[:100]!r}; {hint}", param=name[:100])
