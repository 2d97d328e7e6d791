"""Checks values from outside, field by field; a wrong value is an error that names its field."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.options import Takes
from ollama_proxyd.core.requests import Json

LONGEST_VALUE = 60
LONGEST_NAME = 100
"""Characters of a value and of an unknown key that an error repeats."""


def read_field(takes: Takes, value: Json, name: str) -> Any:
    """A value as the field takes it; `name` is what an error calls it."""
    if not takes.accepts(value):
        raise wrong(name, f"must be {takes}, not {shown(value)}")
    return takes.plain(value)


def read_fields(values: Mapping[str, Json], table: Mapping[str, Takes], where: str = "") -> dict[str, Any]:
    """The fields that are given; a null is as good as nothing. `where` is the key above."""
    check_keys(values, table, where)
    given = {name: value for name, value in values.items() if value is not None}
    return {name: read_field(table[name], value, path(where, name)) for name, value in given.items()}


def read_group(values: Mapping[str, Json], key: str, where: str = "") -> Mapping[str, Json] | None:
    """The object under a key, None where there is none."""
    group = values.get(key)
    if group is not None and not isinstance(group, Mapping):
        raise wrong(path(where, key), f"must be an object, not {shown(group)}")
    return group


def check_keys(values: Mapping[str, Json], known: Collection[str], where: str = "") -> None:
    """Refuse an unknown key, and name the nearest one that is known."""
    for key in values:
        if key not in known:
            near = get_close_matches(key[:LONGEST_NAME].lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            name = path(where, key)
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"unknown key {name!r}; {hint}", param=name)


def wrong(name: str, problem: str) -> ProxyError:
    """The error for a field."""
    return ProxyError(ErrorKind.INVALID_REQUEST, f"{name} {problem}", param=name)


def shown(value: Json) -> str:
    """The value in an error, cut where it is long."""
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    text = repr(value[:LONGEST_VALUE] if isinstance(value, str) else value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def path(where: str, key: str) -> str:
    """The name of a key below another one."""
    return (f"{where}.{key}" if where else key)[:LONGEST_NAME]
