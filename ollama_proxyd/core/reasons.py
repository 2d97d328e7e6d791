"""A reason: a stable code with values, from which its English sentence is rendered."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
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
        shown: dict[str, Any] = dict(self.values)
        for name, value in self.values.items():
            if isinstance(value, tuple):
                shown[name] = "; ".join(map(str, value))
        sentence = ""
        for part in _parts(self.code):
            for name in part.needed:
                if name not in shown or shown[name] is False:
                    break
            else:
                for name in part.figures:
                    number: Any = self.values[name]
                    digits = f"{number:.0f}" if number >= 99.5 else f"{number:.2g}"
                    shown[name] = f"{Decimal(digits):f}" if "e" in digits else digits
                sentence += part.text.format_map(shown)
        return sentence


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
