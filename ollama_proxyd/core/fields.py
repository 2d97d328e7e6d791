"""Readers of single values from outside; a wrong value is an error that names its field."""

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

Reader: TypeAlias = Callable[[Json], Any]
"""Gives the value of a field, or raises WrongValueError with what the value must be."""


class WrongValueError(ValueError):
    """The message says what the value must be, without the field's name."""


LONGEST_VALUE = 60
LONGEST_NAME = 100
"""Characters of an unknown key that an error repeats."""


def text(value: Json) -> str:
    """A string."""
    if not isinstance(value, str):
        raise WrongValueError(f"must be a text, not {shown(value)}")
    return value


def flag(value: Json) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongValueError(f"must be true or false, not {shown(value)}")
    return value


def between(lowest: float, highest: float) -> Reader:
    """A number in a range."""

    def read(value: Json) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not lowest <= value <= highest:  # NaN is between nothing
            raise WrongValueError(f"must be a number from {lowest:g} to {highest:g}, not {shown(value)}")
        return float(value)

    return read


def count(most: int) -> Reader:
    """A whole number from 0."""
    in_range = between(0, most)

    def read(value: Json) -> int:
        number: float = in_range(value)
        if not number.is_integer():
            raise WrongValueError(f"must be a whole number, not {shown(value)}")
        return int(number)

    return read


def one_of(words: Mapping[str, Any]) -> Reader:
    """What a word stands for, without regard to case."""

    def read(value: Json) -> Any:
        word = value.lower() if isinstance(value, str) else ""
        if word not in words:
            raise WrongValueError(f"must be one of {', '.join(words)}, not {shown(value)}")
        return words[word]

    return read


def mapping(value: Json) -> Mapping[str, Json]:
    """An object with keys."""
    if not isinstance(value, Mapping):
        raise WrongValueError(f"must be an object, not {shown(value)}")
    return value


def shown(value: Json) -> str:
    """The value in an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def read_fields(values: Mapping[str, Json], readers: Mapping[str, Reader], where: str = "") -> dict[str, Any]:
    """The fields that are given; ProxyError names the key that is unknown or wrong. `where` is the key above."""
    check_keys(values, readers, where)
    return {name: read_field(readers[name], value, _path(where, name)) for name, value in values.items()}


def read_field(read: Reader, value: Json, name: str) -> Any:
    """One value; ProxyError under the name that its edge has for it."""
    try:
        return read(value)
    except ValueError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{name} {error}", param=name) from None


def check_keys(values: Mapping[str, Json], known: Collection[str], where: str = "") -> None:
    """Refuse an unknown key, and name the nearest one that is known."""
    for key in values:
        if key not in known:
            near = get_close_matches(key.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            name = _path(where, key)[:LONGEST_NAME]
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"unknown key {name!r}; {hint}", param=name)


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
