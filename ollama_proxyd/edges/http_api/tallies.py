"""Sums and distributions by labels as plain numbers: a request only adds to them, a scrape makes metrics of them."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

MOST = 2.0**53
"""No count, time or energy of one request comes near."""

Labels: TypeAlias = tuple[str, ...]


class Tally:
    """A sum for each combination of labels."""

    __slots__ = ("labels", "name", "sums", "what")

    def __init__(self, name: str, what: str, *labels: str) -> None:
        self.name = name
        self.what = what
        self.labels = labels
        self.sums: defaultdict[Labels, float] = defaultdict(float)


class Spread:
    """How values lie between bounds, for each combination of labels."""

    __slots__ = ("bounds", "found", "labels", "name", "what")

    def __init__(self, name: str, what: str, bounds: Sequence[float], *labels: str) -> None:
        self.name = name
        self.what = what
        self.bounds = bounds
        self.labels = labels
        self.found: dict[Labels, tuple[list[int], list[float]]] = {}
        """How many lie up to each bound and above the last, and their sum."""
        if not labels:
            self._begin(())

    def note(self, values: Labels, value: float) -> None:
        """Note a value, unless it cannot be: one of those would spoil the sum for good."""
        if 0 <= value < MOST:
            counts, total = self.found.get(values) or self._begin(values)
            counts[bisect_left(self.bounds, value)] += 1
            total[0] += value

    def _begin(self, values: Labels) -> tuple[list[int], list[float]]:
        begun = self.found[values] = [0] * (len(self.bounds) + 1), [0.0]
        return begun


def amount(told: float | None) -> float:
    """What is added to a sum: nothing for what was not told or cannot be."""
    return float(told) if told is not None and 0 <= told < MOST else 0.0
