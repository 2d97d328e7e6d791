"""The last day in hours: what answers cost at each backend, and when the mode changed."""

from collections.abc import Sequence
from functools import reduce

from ollama_proxyd.core.energy import Source, worst
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.values import value

HOURS = 24
SECONDS_PER_HOUR = 3600
MOST_CHANGES = 500
"""The newest are told; what draws them has no room for more."""


@value
class HourCost:
    """What the attempts cost that ended at a backend in an hour; `hour` counts from the first of the day.

    `source` is the worst of theirs, `error_j` how far the sum may be wrong.
    """

    hour: int
    backend: str
    energy_j: float
    source: Source = Source.ESTIMATED
    error_j: float = 0.0


@value
class ModeChange:
    """From this time on a mode was chosen, and this one in force."""

    unix_s: float
    mode: str
    effective_mode: str


@value
class EnergyHours:
    """Hours by the clock, the present one the last; `changes` begin with the mode at `since_s`, as far as is known."""

    since_s: float
    costs: tuple[HourCost, ...] = ()
    changes: tuple[ModeChange, ...] = ()


def first_hour(now_s: float, local_minute: float) -> float:
    """When the first of the hours began, the present one being the last."""
    return now_s - local_minute % 60 * 60 - (HOURS - 1) * SECONDS_PER_HOUR


def hours_fields(hours: EnergyHours, trouble: Reason | None) -> dict[str, Json]:
    """The hours under the keys that every surface has."""
    rows = [list[HourCost]() for _ in range(HOURS)]
    for cost in hours.costs:
        if 0 <= cost.hour < HOURS:  # the clock may have been set back since
            rows[cost.hour].append(cost)
    return {
        "since_unix_seconds": hours.since_s,
        "hours": [_hour(hours.since_s + number * SECONDS_PER_HOUR, row) for number, row in enumerate(rows)],
        "modes": [
            {"unix_seconds": each.unix_s, "mode": each.mode, "effective_mode": each.effective_mode}
            for each in hours.changes
        ],
        "history": reason_fields(trouble),
    }


def _hour(unix_s: float, costs: Sequence[HourCost]) -> Json:
    spent = [cost.source for cost in costs if cost.energy_j]
    return {
        "unix_seconds": unix_s,
        "energy_joules": sum(cost.energy_j for cost in costs),
        "energy_source": reduce(worst, spent).value if spent else None,
        "energy_error_joules": sum(cost.error_j for cost in costs),
        "backends": {cost.backend: cost.energy_j for cost in costs},
    }
