"""How long an unused model is worth keeping in memory, and who says how long it stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from math import inf
from typing import TypeAlias

from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import replace, value

LEAST_S, MOST_S = 5.0, 300.0
"""Between these a model is kept; the most is what Ollama does by itself."""
FEW_GAPS, MOST_GAPS = 4, 16
"""From so many times between requests on they are believed; so many of the last ones are remembered."""
NEAR = 2.0
"""A next request within this many break-even times is worth waiting for where most of the last ones were."""
MARGIN = 1.1
EXACT_S = 5.0
"""An expiry that differs by more from the one that was asked for is someone else's."""

Gaps: TypeAlias = tuple[float, ...]
"""The last times between requests for a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What is known of keeping models in a backend's memory; the mappings are live views."""

    is_kept_by_us: bool = False
    """Whether the proxy sets how long unused models stay."""
    expires_s: Mapping[str, float] = field(default_factory=dict)
    """When the models that it loaded leave, on the monotonic clock, by the backend's names; infinity: not foreseen."""
    gaps_s: Mapping[str, Gaps] = field(default_factory=dict)
    """The last times between requests for a model anywhere, by its canonical name; none where they overlapped."""
    load_s: Mapping[str, float] = field(default_factory=dict)
    """How long loading took, by the backend's names."""
    bytes_per_s: float | None = None
    """How fast it loaded last."""
    idle_w: float | None = None
    """What its device was measured to draw more with an unused model in memory."""
    start_s: float | None = None
    """Seconds that its engine takes to start, where the proxy stops it with its last model."""
    is_off: bool = False
    """Whether it is stopped."""


NOTHING_KNOWN = Memory()


@lru_cache(maxsize=256)
def keep_alive_s(break_even_s: float, gaps_s: Gaps) -> float:
    """How long a model stays after its last request.

    Up to the break-even time it costs at most twice what would be right, whenever the next request comes (ski rental).
    Where most of the last requests came soon, it stays until the latest of those would have come. Those that came while
    another was under way say nothing of that.
    """
    unused_s = [each for each in gaps_s if each > 0]
    near = [each for each in unused_s if each <= NEAR * break_even_s]
    is_expected = len(unused_s) >= FEW_GAPS and 2 * len(near) >= len(unused_s)
    wanted_s = max(break_even_s, MARGIN * max(near)) if is_expected else break_even_s
    return min(max(wanted_s, LEAST_S), MOST_S)


def idle_s(gaps_s: Sequence[float], within_s: float) -> float:
    """How long a model is expected to lie unused within a time, until the next request comes."""
    return sum([min(each, within_s) for each in gaps_s]) / len(gaps_s) if gaps_s else within_s


def chance(gaps_s: Sequence[float], within_s: float) -> float:
    """How likely a next request is to come within a time."""
    return sum([each <= within_s for each in gaps_s]) / len(gaps_s) if gaps_s else 0.0


class KeptBy(Enum):
    """Who says how long a model stays."""

    PROXY = "proxy"
    CLIENT = "client"
    """A client that sent its own keep_alive."""
    OTHER = "other"
    """A program beside the proxy: it was in memory before, or something has used it since."""


@value
class Stay:
    """A model in a backend's memory, from the first request until it has left; times on the monotonic clock."""

    kept_by: KeptBy
    under_way: int = 0
    ended_s: float | None = None
    """When its last answer ended."""
    asked_s: float | None = None
    """How long the engine was asked to keep it by the last request; None where it was not asked."""
    is_loaded_ahead: bool = False
    """Whether the last request only loaded it, for others that will come."""

    @property
    def engine_until_s(self) -> float | None:
        """When the engine lets go of it by itself, None where that is not known."""
        return None if self.asked_s is None or self.ended_s is None else self.ended_s + self.asked_s

    def until_s(self, keep_s: float) -> float:
        """When it leaves where it is kept that long; infinity where that is not for the proxy to say."""
        if self.kept_by is not KeptBy.PROXY or self.under_way or self.ended_s is None:
            return inf
        return self.ended_s + (max(keep_s, MOST_S) if self.is_loaded_ahead else keep_s)


def begun(stay: Stay | None, *, is_loaded: bool, client_says: bool) -> Stay:
    """The stay once a request has begun; the proxy keeps only what it loaded itself."""
    if stay is None:
        stay = Stay(KeptBy.OTHER if is_loaded else KeptBy.PROXY)
    kept_by = KeptBy.CLIENT if client_says else stay.kept_by
    return Stay(kept_by, stay.under_way + 1, stay.ended_s, stay.asked_s, stay.is_loaded_ahead)


def ended(stay: Stay, now_s: float, asked_s: float | None, *, only_loaded: bool) -> Stay:
    """The stay once an answer has ended."""
    return Stay(stay.kept_by, max(stay.under_way - 1, 0), now_s, asked_s, only_loaded)


def seen(stay: Stay, expires_s: float | None) -> Stay:
    """The stay once the engine has said when it lets go: a later time than was asked for is someone else's."""
    ours_s = stay.engine_until_s
    if stay.kept_by is not KeptBy.PROXY or stay.under_way or expires_s is None or ours_s is None:
        return stay
    return stay if expires_s <= ours_s + EXACT_S else replace(stay, kept_by=KeptBy.OTHER)


WHY_KEPT: Mapping[KeptBy, Reason] = {
    KeptBy.CLIENT: Reason("kept_by_client"),
    KeptBy.OTHER: Reason("kept_by_other"),
    KeptBy.PROXY: Reason("kept_by_engine"),
}
"""Why it is not for the proxy to say how long a model stays."""


@value
class Kept:
    """A model that stays in memory, for a person and for programs."""

    model: str
    kept_by: KeptBy
    keep_s: float | None
    """How long the proxy has it kept after its last request; None where others say so."""
    left_s: float | None
    """Seconds until it is unloaded; None while it works, and where others say so."""
    reason: Reason
