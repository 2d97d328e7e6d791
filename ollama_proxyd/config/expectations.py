"""What a setting takes, in words, and whether a plain value is that."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from msgspec import inspect

from ollama_proxyd.config.document import Scalar

Type = inspect.Type


def strip(kind: Type) -> Type:
    """The type below its descriptions."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def alternatives(kind: Type) -> tuple[Type, ...]:
    """What a value may be, each with its own metadata; one entry for all but unions."""
    bare = strip(kind)
    return bare.types if isinstance(bare, inspect.UnionType) else (kind,)


def accepts(kind: Type, value: Scalar) -> bool:
    """Whether a plain value is what the setting takes."""
    return any(_CHECKS[type(strip(each))](strip(each), value) for each in alternatives(kind) if _is_plain(each))


def expectation(kind: Type) -> str:
    """What the setting takes: "a whole number from 1 to 5"."""
    return " or ".join(_words(each) for each in alternatives(kind))


def advice(kind: Type, value: Scalar) -> str:
    """What the writer may have meant, empty where nothing comes to mind."""
    for each in alternatives(kind):
        bare = strip(each)
        if isinstance(bare, inspect.EnumType) and isinstance(value, str):
            close = nearest(value, [str(member.value) for member in bare.cls])
            return f'; did you mean "{close}"?' if close else ""
        if isinstance(bare, inspect.StrType) and isinstance(value, int | float) and _string(bare, show_plain(value)):
            return "; put it in quotes"
    return ""


def nearest(word: str, known: list[str]) -> str | None:
    """The known word that was probably meant, as a whole or by one of its parts, if one is near."""
    whole = {each.lower(): each for each in known}
    parts = {part: each for each in known for part in each.lower().split("_") if len(part) > 1}
    for spellings in (whole, parts):
        if close := get_close_matches(word.lower(), spellings, n=1, cutoff=0.6):
            return spellings[close[0]]
    return None


def show(value: Scalar) -> str:
    """A plain value as it would be quoted in a sentence; long text is cut."""
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
    return show_plain(value)


def show_plain(value: Scalar) -> str:
    """A plain value as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_plain(kind: Type) -> bool:
    return type(strip(kind)) in _CHECKS


def _whole(kind: Any, value: Scalar) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and _within(kind, value)


def _number(kind: Any, value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _within(kind, value)


def _within(kind: Any, value: float) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _string(kind: Any, value: Scalar) -> bool:
    if not isinstance(value, str) or len(value) < (kind.min_length or 0):
        return False
    return kind.pattern is None or re.fullmatch(kind.pattern, value) is not None


def _member(kind: Any, value: Scalar) -> bool:
    return isinstance(value, str) and value in {member.value for member in kind.cls}


_CHECKS: Final[dict[type[Type], Callable[[Any, Scalar], bool]]] = {
    inspect.IntType: _whole,
    inspect.FloatType: _number,
    inspect.StrType: _string,
    inspect.EnumType: _member,
    inspect.BoolType: lambda _, value: isinstance(value, bool),
    inspect.NoneType: lambda _, value: value is None,
}


def _words(kind: Type) -> str:
    if isinstance(kind, inspect.Metadata) and kind.extra and "expects" in kind.extra:
        return str(kind.extra["expects"])
    bare = strip(kind)
    match bare:
        case inspect.IntType():
            return "a whole number" + _bounds(bare)
        case inspect.FloatType():
            return "a number" + _bounds(bare)
        case inspect.EnumType(cls=members):
            return "one of " + ", ".join(str(member.value) for member in members)
        case _:
            return _WORDS[type(bare)]


_WORDS: Final[dict[type[Type], str]] = {
    inspect.StrType: "text that is not empty",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.StructType: "a section with keys of its own",
    inspect.VarTupleType: "a list",
}


def _bounds(number: inspect.IntType | inspect.FloatType) -> str:
    low = "" if number.ge is None else f" from {number.ge}"
    low = low if number.gt is None else f" above {number.gt}"
    return low + ("" if number.le is None else f" to {number.le}")
