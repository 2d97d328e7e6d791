"""Sums of energy by device, account and source, and how far each may be wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

from ollama_proxyd.core.energy import Account, Source, worst
from ollama_proxyd.core.power_domain import Key


class Total(NamedTuple):
    """A sum of figures: the worst of their sources, and how far it may be wrong."""

    joules: float
    source: Source
    error_j: float


@dataclass(frozen=True, slots=True)
class Sums:
    """Joules, and the error of each."""

    joules: Mapping[Key, float] = field(default_factory=dict)
    errors_j: Mapping[Key, float] = field(default_factory=dict)

    def since(self, before: "Sums") -> "Sums":
        """What came since these sums."""
        return Sums(_risen(before.joules, self.joules), _risen(before.errors_j, self.errors_j))

    def of(self, account: Account) -> Total:
        """The sum of an account over all devices."""
        keys = [key for key, joules in self.joules.items() if key[1] is account and joules > 0]
        total_j, error_j = sum([self.joules[key] for key in keys]), sum([self.errors_j[key] for key in keys])
        source = reduce(worst, [key[2] for key in keys], Source.MEASURED) if keys else Source.ESTIMATED
        return Total(total_j, source, error_j)


def together(parts: Iterable[Sums]) -> Sums:
    """The sums of several domains."""
    joules, errors_j = dict[Key, float](), dict[Key, float]()
    for part in parts:
        for key, value in part.joules.items():
            joules[key] = joules.get(key, 0.0) + value
            errors_j[key] = errors_j.get(key, 0.0) + part.errors_j[key]
    return Sums(joules, errors_j)


def _risen(before: Mapping[Key, float], now: Mapping[Key, float]) -> Mapping[Key, float]:
    return {key: value - before.get(key, 0.0) for key, value in now.items()}
