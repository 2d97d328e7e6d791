"""A reason: a stable code with values, from which its English sentence is rendered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from re import compile as pattern
from typing import NamedTuple, TypeAlias, Union

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.sentences import SENTENCES

Value: TypeAlias = Union[str, float, "Reason", tuple[Union[str, "Reason"], ...]]
"""What a reason tells; a reason within a reason is its cause."""


@dataclass(frozen=True, slots=True, init=False)
class Reason:
    """Why something is as it is; a value that is None was not given."""

    code: str
    values: Mapping[str, Value]

    def __init__(self, code: str, /, **values: Value | None) -> None:
        for given in values.values():
            if given is None:
                values = {name: each for name, each in values.items() if each is not None}
                break
        object.__setattr__(self, "code", str(code))
        object.__setattr__(self, "values", values)

    def __hash__(self) -> int:
        return hash(self.code)

    def __str__(self) -> str:
        values, text = self.values, ""
        for part in _parts(self.code):
            shown = []
            for name, form in part.fields:
                value = values.get(name) if part.is_optional else values[name]
                if part.is_optional and (value is None or value is False):
                    break
                shown.append(value if type(value) is str and not form else _show(value, form))
            else:
                text += part.text.format(*shown)
        return text


def reason_fields(reason: Reason | None) -> dict[str, Json]:
    """The sentence, its code and its values under the keys that JSON has for them everywhere."""
    if reason is None:
        return {"reason": None, "reason_code": None, "reason_details": {}}
    details = {name: _plain(value) for name, value in reason.values.items()}
    return {"reason": str(reason), "reason_code": reason.code, "reason_details": details}


def _plain(value: Value) -> Json:
    if isinstance(value, Reason):
        return reason_fields(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def fields_of(code: str) -> frozenset[str]:
    """The values that a code may have."""
    return frozenset(field.name for part in _parts(code) for field in part.fields)


class _Field(NamedTuple):
    name: str
    form: str


class _Part(NamedTuple):
    """A stretch of a sentence; an optional one is left out where one of its values was not given or is false."""

    text: str
    fields: tuple[_Field, ...]
    is_optional: bool


def _show(value: Value | None, form: str) -> str:
    if form == "?":
        return ""
    if isinstance(value, tuple):
        return "; ".join(str(each) for each in value)
    if form == "quoted":
        return repr(value)
    if form == "figure" and isinstance(value, int | float):
        return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"
    return format(value, form) if isinstance(value, int | float) else str(value)


_OPTIONAL = pattern(r"\[([^\]]*)\]")
_FIELD = pattern(r"\{(\w+)(?::([^}]*))?\}")


@cache
def _parts(code: str) -> tuple[_Part, ...]:
    return tuple(_read(SENTENCES[code]))


def _read(sentence: str) -> Iterator[_Part]:
    for at, text in enumerate(_OPTIONAL.split(sentence)):
        fields = tuple(_Field(found[1], found[2] or "") for found in _FIELD.finditer(text))
        yield _Part(_FIELD.sub("{}", text), fields, is_optional=at % 2 == 1)
