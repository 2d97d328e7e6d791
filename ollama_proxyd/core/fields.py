"""Checks values from outside, field by field; a wrong value is an error that names its field."""

from collections.abc import Collection, Mapping
from typing import Any

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.options import Takes
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.text import cut, nearest

LONGEST_TEXT = 512
"""Characters of a text from outside: it may be kept, shown and broadcast."""
LONGEST_VALUE = 60
LONGEST_NAME = 100
"""Characters of a value and of an unknown key that an error repeats."""


def read_field(takes: Takes, value: Json, name: str) -> Any:
    """A value as the field takes it; `name` is what an error calls it."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise wrong(name, f"has {len(value)} characters; allowed are {LONGEST_TEXT}")
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
            near = nearest(key, known, 0.5)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            name = path(where, key)
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"unknown key {name!r}; {hint}", param=name)


def wrong(name: str, problem: str) -> ProxyError:
    """The error for a field."""
    return ProxyError(ErrorKind.INVALID_REQUEST, f"{name} {problem}", param=name)


def shown(value: Json) -> str:
    """The value in an error, cut where it is long."""
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    return cut(repr(value[:LONGEST_VALUE] if isinstance(value, str) else value), LONGEST_VALUE)


def path(where: str, key: str) -> str:
    """The name of a key below another one."""
    return (f"{where}.{key}" if where else key)[:LONGEST_NAME]
