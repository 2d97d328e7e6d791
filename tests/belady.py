"""The fewest evictions that any order of leaving has for models that are wanted one after the other."""

from collections.abc import Sequence
from math import inf


def fewest_evictions(wanted: Sequence[str], room_for: int) -> int:
    """By Belady's rule: that one leaves which is wanted again last. Models are all of one size."""
    there: set[str] = set()
    evictions = 0
    for now, model in enumerate(wanted):
        if model not in there and len(there) == room_for:
            there.discard(max(there, key=lambda each: _next(wanted, each, now)))
            evictions += 1
        there.add(model)
    return evictions


def _next(wanted: Sequence[str], model: str, now: int) -> float:
    """When a model is wanted next."""
    return next((at for at in range(now + 1, len(wanted)) if wanted[at] == model), inf)
