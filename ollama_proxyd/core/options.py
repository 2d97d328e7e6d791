"""How an option is declared: once, at the field that holds it.

    retries: Annotated[int, Within(0, 10), Option("routing.", "Further backends that are tried.")] = 1

The file's shape, its JSON Schema, `config.yaml` and the table in the documentation are derived from such fields.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from enum import Enum
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from ollama_proxyd.core.values import value


@value
class Within:
    """The limits of a number."""

    ge: float | None = None
    le: float | None = None
    gt: float | None = None

    def __contains__(self, number: float) -> bool:
        return (
            (self.ge is None or number >= self.ge)
            and (self.le is None or number <= self.le)
            and (self.gt is None or number > self.gt)
        )

    def __str__(self) -> str:
        low = "" if self.ge is None else f" from {self.ge}"
        low, to = (low, " to") if self.gt is None else (f" above {self.gt}", ", at most")
        return low + ("" if self.le is None else f"{to} {self.le}")


@value
class Like:
    """The form of a text: a regular expression for all of it, and the same in words."""

    pattern: str
    words: str


@value
class Option:
    """What a person is told of a setting.

    `key` is its place in the file; one that ends in a dot goes on with the field's name. `[].` stands for each
    backend, `*.` for each mode. `reload` tells whether a reload puts a new value in force. `written` is the type in the
    file where the field has another one, `default` the written default; it is null for another type. `read` makes the
    field's value of the written one.
    """

    key: str
    sentence: str
    reload: bool = True
    written: Any = None
    default: Any = None
    read: Callable[[Any], Any] | None = None


class Plain:
    """Stands for any plain value in the file: text, a number, true or false."""


@value
class Without:
    """Words of an enumeration that an option does not take."""

    words: tuple[str, ...] = ()


Percent: TypeAlias = Annotated[float, Within(0, 100)]
Positive: TypeAlias = Annotated[float, Within(gt=0)]
NotNegative: TypeAlias = Annotated[float, Within(0)]
TimeOfDay: TypeAlias = Annotated[str, Like("^([01][0-9]|2[0-3]):[0-5][0-9]$", 'a time of day such as "22:00"')]

REQUIRED: Final = object()
"""The default of an option that has none."""
_NOT_EMPTY: Final = Like("[\\s\\S]+", "text that is not empty")


@value
class Takes:
    """What an option takes: a value of one type within limits, perhaps null, perhaps a list of such values.

    `is_map`: such a value or list under each of several names that the file chooses.
    """

    base: type
    limits: Within = Within()
    form: Like = _NOT_EMPTY
    is_nullable: bool = False
    is_list: bool = False
    is_map: bool = False
    without: Without = Without()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are allowed, empty where they are not fixed."""
        members = self.base if issubclass(self.base, Enum) else ()
        return tuple(each.value for each in members if each.value not in self.without.words)

    def accepts(self, value: object) -> bool:
        """Whether a plain value, or an item of a list, is allowed."""
        if value is None:
            return self.is_nullable
        if self.base is Plain:
            return isinstance(value, str | int | float)
        if isinstance(value, bool) or self.base is bool:
            return isinstance(value, bool) and self.base is bool
        if isinstance(value, str):
            return value in self.choices or (self.base is str and re.fullmatch(self.form.pattern, value) is not None)
        if isinstance(value, int):
            return self.base in {int, float} and value in self.limits
        return isinstance(value, float) and self.base is float and value in self.limits

    def plain(self, value: Any) -> Any:
        """An accepted value as the field holds it, enumerations as their words."""
        return float(value) if self.base is float and value is not None else value

    def __str__(self) -> str:
        words = {
            Plain: "text, a number, true or false",
            bool: "true or false",
            int: f"a whole number{self.limits}",
            float: f"a number{self.limits}",
        }
        what = words.get(self.base) or (f"one of {', '.join(self.choices)}" if self.choices else self.form.words)
        return f"{what} or null" if self.is_nullable else what


@value
class Setting:
    """An option with the field that declares it; `default` is as the file would have it."""

    name: str
    option: Option
    takes: Takes
    default: Any

    @property
    def is_list(self) -> bool:
        """Whether it takes a list."""
        return self.takes.is_list

    def read(self, written: Any) -> Any:
        """The field's value for a plain one that was accepted."""
        if written is None:
            return None
        meant = self.takes.base if self.takes.choices else _as_it_is
        value: Any
        if self.takes.is_map:
            value = {name: tuple(each) if self.is_list else each for name, each in written.items()}
        else:
            value = tuple(map(meant, written)) if self.is_list else meant(written)
        return self.option.read(value) if self.option.read else value


def _as_it_is(value: Any) -> Any:
    return value


def _settings_of(owner: type) -> tuple[Setting, ...]:
    hints = get_type_hints(owner, include_extras=True)
    found = []
    for field in fields(owner):
        option = next((each for each in _metadata(hints[field.name]) if isinstance(each, Option)), None)
        if option is not None:
            is_own = option.written is None and option.default is None
            own = field.default if field.default_factory is MISSING else field.default_factory()
            default = _plain(own) if is_own else option.default
            option = replace(option, key=option.key + field.name) if option.key.endswith(".") else option
            found.append(Setting(field.name, option, _takes(option.written or hints[field.name]), default))
    return tuple(found)


settings_of: Final[Callable[[type], tuple[Setting, ...]]] = cache(_settings_of)
"""The options that a dataclass declares, in order."""


def _metadata(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _plain(default: Any) -> Any:
    if default is MISSING:
        return REQUIRED
    if isinstance(default, Enum):
        return default.value
    return list(default) if isinstance(default, tuple) else default


def _takes(hint: Any) -> Takes:
    known: dict[str, Any] = {}
    while (origin := get_origin(hint)) is not None:
        for each in _metadata(hint):
            known |= {"limits": each} if isinstance(each, Within) else {}
            known |= {"form": each} if isinstance(each, Like) else {}
            known |= {"without": each} if isinstance(each, Without) else {}
        if origin in {Union, UnionType}:
            known["is_nullable"] = True
        known["is_list"] = known.get("is_list", False) or origin is tuple
        known["is_map"] = known.get("is_map", False) or origin is Mapping
        hint = get_args(hint)[-1 if origin is Mapping else 0]
    return Takes(hint, **known)
