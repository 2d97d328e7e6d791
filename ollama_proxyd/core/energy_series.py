"""What answers cost over time: each hour of the last day or each day of the last thirty, and whose it was."""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import reduce
from typing import NamedTuple

from ollama_proxyd.core.energy import Source, worst
from ollama_proxyd.core.energy_books import Books, By, books_fields
from ollama_proxyd.core.energy_hours import HOURS, SECONDS_PER_HOUR
from ollama_proxyd.core.fields import read_field
from ollama_proxyd.core.options import Takes, Without
from ollama_proxyd.core.readings import Maybe
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.values import value

DAYS = 30
MOST_PARTS = 5
"""The costliest are told apart, and the others are one part: more colours nobody tells apart."""


class Over(Enum):
    """How long a time the columns cover."""

    DAY = "day"
    MONTH = "month"


_OVER = Takes(Over)
_BY = Takes(By, without=Without((By.DAY.value,)))


def read_over(value: Json) -> Over:
    """The time that is asked for; raises ProxyError."""
    return Over(read_field(_OVER, value, "over"))


def read_part(value: Json) -> By:
    """What the parts are to stand for; raises ProxyError."""
    return By(read_field(_BY, value, "by"))


class Part(NamedTuple):
    """What the attempts cost that ended in a column and belong together; `error_j`: how far it may be wrong."""

    column: int
    key: str
    energy_j: float
    source: Source = Source.ESTIMATED
    error_j: float = 0.0


@value
class Series:
    """The parts of each column, and what they come to in the books of the same time."""

    books: Books
    parts: Sequence[Part] = ()
    days: Sequence[str] = ()
    """The dates of the columns, the first the oldest; none where they are hours."""


def series_fields(series: Series, battery_wh: Maybe[float], trouble: Reason | None) -> dict[str, Json]:
    """The books with their columns, the first the oldest; an hour has its time, a day its date."""
    asked = series.books.asked
    hours = [] if asked.since_s is None else [asked.since_s + at * SECONDS_PER_HOUR for at in range(HOURS)]
    begins: Sequence[Json] = hours or series.days
    columns = [list[Part]() for _ in begins]
    for part in series.parts:
        if 0 <= part.column < len(columns):  # the clock may have been set back since
            columns[part.column].append(part)
    return {
        **books_fields(series.books, battery_wh, trouble),
        "columns": [
            {"day" if asked.since_s is None else "unix_seconds": begin, **_column(parts)}
            for begin, parts in zip(begins, columns, strict=True)
        ],
    }


def _column(parts: Sequence[Part]) -> Mapping[str, Json]:
    spent = [part.source for part in parts if part.energy_j]
    return {
        "energy_joules": sum(part.energy_j for part in parts),
        "energy_source": reduce(worst, spent).value if spent else None,
        "energy_error_joules": sum(part.error_j for part in parts),
        "parts": {part.key: part.energy_j for part in parts},
    }
