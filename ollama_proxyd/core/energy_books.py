"""What answers cost on some days, by program, model, backend, day or mode, and what devices drew beside."""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from enum import Enum

from ollama_proxyd.core.energy import Account, Source
from ollama_proxyd.core.fields import read_field
from ollama_proxyd.core.options import Takes, Within
from ollama_proxyd.core.readings import Maybe, Reading, Unavailable
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.units import spelled
from ollama_proxyd.core.values import value

JOULES_PER_WH = 3600.0
MOST_DAYS = 366
MOST_ROWS = 100
"""The costliest are told, and the others together."""
OTHERS = "others"


class By(Enum):
    """What the rows of the books stand for."""

    APP = "app"
    MODEL = "model"
    BACKEND = "backend"
    DAY = "day"
    MODE = "mode"


_DAYS = Takes(int, Within(1, MOST_DAYS))
_BY = Takes(By)


def read_days(value: Json) -> int:
    """How many days are asked for, as a number or in digits; raises ProxyError."""
    is_written = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
    return int(read_field(_DAYS, int(value) if is_written else value, "days"))


def read_by(value: Json) -> By:
    """What the rows are to stand for; raises ProxyError."""
    return By(read_field(_BY, value, "by"))


@value
class Asked:
    """Whole days, the first and the last as local dates such as 2027-01-15.

    With `since_s`, in Unix time, what ended from then on; devices are booked by days, so nothing is told of them.
    """

    since: str
    until: str
    by: By = By.APP
    since_s: float | None = None


@value
class Cost:
    """What some attempts cost; the joules of each source are told, and how far their sum may be wrong.

    `spent` is money by currency, estimated from tokens and configured prices.
    `key` is empty where it is not known. `known_by` says how a program is known. `saved_j` is the sum over the
    `compared` requests, against the mode Performance.
    """

    key: str
    answers: int = 0
    """Attempts that came whole."""
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    energy_j: float = 0.0
    measured_j: float = 0.0
    attributed_j: float = 0.0
    estimated_j: float = 0.0
    error_j: float = 0.0
    saved_j: float = 0.0
    compared: int = 0
    known_by: str | None = None
    spent: Mapping[str, float] = field(default_factory=dict)

    def plus(self, other: "Cost") -> "Cost":
        """Both together, under this key."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        currencies = dict.fromkeys((*self.spent, *other.spent))
        spent = {each: self.spent.get(each, 0.0) + other.spent.get(each, 0.0) for each in currencies}
        return Cost(self.key, **sums, spent=spent)


_SUMMED = tuple(each.name for each in fields(Cost) if each.name not in {"key", "known_by", "spent"})


@value
class DeviceCost:
    """What a device drew on one account: active, idle_tail or base."""

    device: str
    account: str
    source: str
    energy_j: float
    error_j: float


@value
class Books:
    """The costliest first; `devices` are empty where no device was accounted."""

    asked: Asked
    rows: tuple[Cost, ...] = ()
    devices: tuple[DeviceCost, ...] = ()
    cached: int = 0
    """Requests that got a kept answer."""
    cache_saved_j: float = 0.0
    """What these answers had cost, as far as is known."""

    @property
    def total(self) -> Cost:
        """All rows together."""
        total = Cost("")
        for row in self.rows:
            total = total.plus(row)
        return total

    def of(self, account: Account) -> Cost:
        """What all devices drew on one account."""
        mine = [each for each in self.devices if each.account == account.value]
        of = {source: sum(each.energy_j for each in mine if each.source == source.value) for source in Source}
        return Cost(
            account.value,
            energy_j=sum(each.energy_j for each in mine),
            measured_j=of[Source.MEASURED],
            attributed_j=of[Source.ATTRIBUTED],
            estimated_j=of[Source.ESTIMATED],
            error_j=sum(each.error_j for each in mine),
        )


def shortened(rows: Sequence[Cost]) -> tuple[Cost, ...]:
    """The costliest rows, and one for all others."""
    kept, rest = rows[:MOST_ROWS], rows[MOST_ROWS:]
    others = Cost(OTHERS)
    for row in rest:
        others = others.plus(row)
    return (*kept, others) if rest else tuple(kept)


def books_fields(books: Books, battery_wh: Maybe[float], trouble: Reason | None) -> dict[str, Json]:
    """The books under the keys that every surface has."""
    tail, base, total = books.of(Account.IDLE_TAIL), books.of(Account.BASE), books.total
    day_j = total.energy_j + tail.energy_j
    full_j = battery_wh.value * JOULES_PER_WH if isinstance(battery_wh, Reading) and battery_wh.value > 0 else None
    unknown = {"battery_percent": reason_fields(battery_wh.reason)} if isinstance(battery_wh, Unavailable) else {}
    return {
        "since": books.asked.since,
        "until": books.asked.until,
        "by": books.asked.by.value,
        "rows": [_cost(row, full_j) for row in books.rows],
        "total": _cost(total, full_j),
        "idle_tail_joules": tail.energy_j,
        "idle_tail_source": _source(tail),
        "idle_tail_error_joules": tail.error_j,
        "base_joules": base.energy_j,
        "base_source": _source(base),
        "base_error_joules": base.error_j,
        "day_joules": day_j,
        "day_source": _source(total.plus(tail)),
        "day_error_joules": total.error_j + tail.error_j,
        "day_battery_percent": _share(day_j, full_j),
        "cached_answers": books.cached,
        "cache_saved_joules": books.cache_saved_j,
        "devices": [{spelled(each.name): getattr(row, each.name) for each in fields(row)} for row in books.devices],
        "battery_joules": full_j,
        "history": reason_fields(trouble),
        "unknown": unknown,
    }


def _source(cost: Cost) -> str | None:
    """The worst of the sources of a sum; None where there is nothing."""
    known = [each.value for each in Source if getattr(cost, f"{each.value}_j")]
    return known[-1] if known else None


def _cost(row: Cost, full_j: float | None) -> Mapping[str, Json]:
    told = {spelled(each.name): getattr(row, each.name) for each in fields(row)}
    told["money_spent"] = dict(told.pop("spent"))
    saved = {"saved_joules": row.saved_j if row.compared else None, "compared": row.compared or None}
    return {**told, **saved, "battery_percent": _share(row.energy_j, full_j)}


def _share(energy_j: float, full_j: float | None) -> float | None:
    return None if full_j is None else 100 * energy_j / full_j
