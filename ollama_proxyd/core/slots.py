"""How many requests a backend answers at once, and how that is known."""

from enum import Enum

from ollama_proxyd.core.values import value

MISSES = 3
"""So many requests must have waited within an engine before it counts as full: one may begin late by chance."""
MOST_SLOTS = 16
"""An engine that does not tell is not tried with more."""


class SlotsFrom(Enum):
    """How it is known how many requests a backend answers at once; the surest first."""

    TOLD = "told"
    """By the engine."""
    READ = "read"
    """From the settings of its process."""
    INFERRED = "inferred"
    """From requests that were answered at the same time."""
    CONFIGURED = "configured"
    ASSUMED = "assumed"
    """From its kind."""


@value
class Slots:
    """How many requests a backend answers at once, and how that is known."""

    count: int
    source: SlotsFrom


def after_trial(known: Slots, width: int, misses: int, *, together: bool) -> tuple[Slots, int]:
    """What is known after so many requests were sent at once, and how many such trials failed in a row.

    `together`: the last one began while all others were written.
    """
    if together:
        return (Slots(width, SlotsFrom.INFERRED) if width > known.count else known), 0
    misses += 1
    if misses >= MISSES and 1 < width <= known.count:
        return Slots(width - 1, SlotsFrom.INFERRED), misses
    return known, misses
