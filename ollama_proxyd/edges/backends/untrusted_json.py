"""Reading what a backend says about itself without trusting its types: what does not fit counts as not said."""

from collections.abc import Mapping

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.numbers import count

MOST_LABEL_CHARACTERS = 500
MOST_WORDS = 100


def at(value: Json, *path: str) -> Json:
    """The value under nested keys, None where a step is missing."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def text(value: Json, *path: str) -> str | None:
    """A string with something in it."""
    found = at(value, *path)
    return found if isinstance(found, str) and found else None


def label(value: Json, *path: str) -> str | None:
    """A name or a version: a string of one printable line, for it is shown and logged."""
    found = text(value, *path)
    return found if found and is_label(found) else None


def is_label(found: str) -> bool:
    """Whether the text can stand in a line with others."""
    return found.isprintable() and len(found) <= MOST_LABEL_CHARACTERS


def whole(value: Json, *path: str) -> int | None:
    """A whole number above zero."""
    return count(at(value, *path)) or None


def none_or_more(value: Json, *path: str) -> int | None:
    """A whole number that may be zero."""
    return count(at(value, *path))


def truth(value: Json, *path: str) -> bool:
    """True only where the backend says true."""
    return at(value, *path) is True


def items(value: Json, *path: str) -> tuple[Json, ...]:
    """The members of a list."""
    found = at(value, *path)
    return tuple(found) if isinstance(found, list) else ()


def words(value: Json, *path: str) -> frozenset[str] | None:
    """The labels of a list, None where there is no list."""
    found = at(value, *path)
    if not isinstance(found, list):
        return None
    return frozenset(each for each in found[:MOST_WORDS] if isinstance(each, str) and is_label(each))
