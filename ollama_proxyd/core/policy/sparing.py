"""What a model that stays in memory spares later requests, by the times between the last ones."""

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.keeping import FEW_GAPS, Gaps, Memory
from ollama_proxyd.core.memo import by_identity


def gaps_of(view: BackendView, asked_as: str) -> Gaps:
    """The last times between requests for a model by its canonical name, wherever they went; empty while few."""
    found = view.memory.gaps_s.get(asked_as, ()) if view.memory.gaps_s else ()
    return found if len(found) >= FEW_GAPS else ()


def may_spare(view: BackendView, asked_as: str) -> bool:
    """Whether a model that stays in memory may spare later requests its loading: not while they overlap."""
    return max(gaps_of(view, asked_as), default=0.0) > 0


class Sparing(NamedTuple):
    """The loading that later requests are spared at most by one that keeps a model in memory."""

    again_j: float
    """What it costs to load it again."""
    name: str | None
    """The model's name in memory."""
    memory: Memory
    """When each model leaves, and the last times between requests, as they stand."""
    asked_as: str
    """The model's canonical name."""

    def most_j(self, now_s: float) -> float:
        """What is spared at most: nothing of those that would come while it is there in any case."""
        left_s = 0.0 if self.name is None else self.memory.expires_s.get(self.name, inf) - now_s
        gaps_s = _ordered(self.memory.gaps_s[self.asked_as])
        return self.again_j * (1 - bisect_right(gaps_s, max(left_s, 0.0)) / len(gaps_s))


@by_identity
def _ordered(gaps_s: Sequence[float]) -> Sequence[float]:
    return sorted(gaps_s)
