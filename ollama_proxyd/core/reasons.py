"""A reason: a stable code with values, from which its English sentence is rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from re import Match
from re import compile as pattern
from typing import Any, Final, NamedTuple, TypeAlias, Union

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.sentences import SENTENCES

Value: TypeAlias = Union[str, float, "Reason", tuple[Union[str, "Reason"], ...]]
"""What a reason tells; a reason within a reason is its cause."""


@dataclass(slots=True, init=False)
class Reason:
    """Why something is as it is; a value that is None was not given."""

    code: Final[str]
    values: Final[Mapping[str, Value]]

    def __init__(self, code: str, /, **values: Value | None) -> None:
        self.code = code
        self.values = {name: each for name, each in values.items() if each is not None}

    def __hash__(self) -> int:
        return hash(self.code)

    def __str__(self) -> str:
        values = self.values
        text, figures = _form(self.code, tuple([name for name, each in values.items() if each is not False]))
        shown: dict[str, Any] = {
            name: "; ".join(map(str, each)) if isinstance(each, tuple) else each for name, each in values.items()
        }
        for name in figures:
            number: Any = values[name]
            digits = f"{number:.0f}" if number >= 99.5 else f"{number:.2g}"
            shown[name] = f"{Decimal(digits):f}" if "e" in digits else digits
        return text.format_map(shown)


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


class _Part(NamedTuple):
    """A stretch of a sentence: a format, the values without which it is left out, and those shown with two digits."""

    text: str
    needed: tuple[str, ...]
    figures: tuple[str, ...]


_OPTIONAL = pattern(r"\[([^\]]*)\]")
_FIELD = pattern(r"\{(\w+)(?::([^}]*))?\}")
_FORMS = {"figure": "{%s}", "quoted": "{%s!r}", "?": ""}


@lru_cache(1024)
def _form(code: str, names: tuple[str, ...]) -> tuple[str, Sequence[str]]:
    """The format of a sentence that tells these values, and those of them that are shown with two digits."""
    told = [part for part in _parts(code) if all(name in names for name in part.needed)]
    return "".join([part.text for part in told]), tuple({name: None for part in told for name in part.figures})


@cache
def _parts(code: str) -> tuple[_Part, ...]:
    return tuple(
        _Part(
            _FIELD.sub(_format, text),
            tuple(found[1] for found in _FIELD.finditer(text)) if at % 2 else (),
            tuple(found[1] for found in _FIELD.finditer(text) if found[2] == "figure"),
        )
        for at, text in enumerate(_OPTIONAL.split(SENTENCES[code]))
        if text
    )


def _format(field: Match[str]) -> str:
    form = _FORMS.get(field[2] or "")
    return field[0] if form is None else form.replace("%s", field[1])
