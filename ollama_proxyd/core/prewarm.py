"""Whether a model that is usually wanted at this hour is worth loading before anybody asks, in joules."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final, NamedTuple

from ollama_proxyd.core.energy_hours import SECONDS_PER_HOUR
from ollama_proxyd.core.policy.residence import Upkeep
from ollama_proxyd.core.values import value

DAYS: Final = 14
"""So many days are looked back on."""
FEW_DAYS: Final = 4
"""Of fewer days with requests nothing is concluded."""
LEAD_S: Final = 30.0
"""So much earlier than loading must begin it does, since habits are no clock."""
OWN_PROGRAM: Final = "ollama-proxyd"
"""Who asks for what nobody has asked for yet; it is no habit."""


@value
class Habits:
    """An hour of the last days: on how many there were requests at all, and when each model was first asked for in it.

    first_s: seconds since the hour began, one for each day on which the model was asked for.
    """

    days: int = 0
    first_s: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Ahead(NamedTuple):
    """To load a model at a second of the hour and keep it until another, and what that is expected to save."""

    begin_s: float
    until_s: float
    gain_j: float


class Window(NamedTuple):
    """The part of the hour that is left, and how long the backend would keep a model that nobody asks for."""

    from_s: float = 0.0
    longest_s: float = SECONDS_PER_HOUR


WHOLE_HOUR: Final = Window()


def best_ahead(
    first_s: Sequence[float], days: int, costs: Upkeep, price_w: float, window: Window = WHOLE_HOUR
) -> Ahead | None:
    """When to load a model that was asked for at these seconds of the hour; None where it does not pay."""
    if days < FEW_DAYS:
        return None
    lead_s = costs.again_s + LEAD_S
    begins = dict.fromkeys([max(each - lead_s, window.from_s) for each in first_s if each >= window.from_s])
    found = [
        Ahead(begin_s, until_s, _saved_j(first_s, days, (begin_s, until_s), costs, price_w) / days)
        for begin_s in begins
        for until_s in first_s
        if begin_s <= until_s <= begin_s + window.longest_s
    ]
    best = max(found, key=lambda each: each.gain_j, default=None)
    return best if best is not None and best.gain_j > 0 else None


def _saved_j(first_s: Sequence[float], days: int, held: tuple[float, float], costs: Upkeep, price_w: float) -> float:
    """What holding a model from one second of the hour to another would have saved over these days.

    A request that finds it there is spared the wait; before that it costs the idle watts, and where none comes its
    loading too. On days with an earlier request nothing would have been loaded ahead.
    """
    begin_s, until_s = held
    hits_s = [each - begin_s for each in first_s if begin_s <= each <= until_s]
    misses = days - len(hits_s) - sum([each < begin_s for each in first_s])
    spared_j = len(hits_s) * price_w * costs.again_s - costs.idle_w * sum(hits_s)
    return spared_j - misses * (costs.again_j + costs.idle_w * (until_s - begin_s))
