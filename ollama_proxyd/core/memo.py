"""Remembers what was computed: once, or from immutable objects by which objects they were."""

from collections.abc import Callable
from functools import wraps
from typing import Generic, TypeVar, TypeVarTuple

Parts = TypeVarTuple("Parts")
Result = TypeVar("Result")

MOST_RESULTS = 512
"""So many are remembered of each function by a generation; what the next one does not use is forgotten with it."""


def by_identity(function: Callable[[*Parts], Result]) -> Callable[[*Parts], Result]:
    """Remember a pure function's results for arguments that never change.

    The identity of arguments is compared, not their value: hashing a profile takes longer than pricing with it. What
    changes in place, such as a live mapping, must not be an argument.
    """
    young: dict[tuple[int, ...], tuple[Result, tuple[*Parts]]] = {}
    old = young

    @wraps(function)
    def remembering(*parts: *Parts) -> Result:
        nonlocal young, old
        key = tuple(map(id, parts))
        if (found := young.get(key)) is None:
            found = old.get(key) or (function(*parts), parts)  # kept alive, so that an id stays the same object's
            if len(young) >= MOST_RESULTS:
                young, old = {}, young
            young[key] = found
        return found[0]

    return remembering


class Once(Generic[Result]):
    """What a function gives, made when it is asked for first; `functools.cache` takes ten times as long to make."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Result]) -> None:
        self._make = make
        self._made: list[Result] = []

    def __call__(self) -> Result:
        """The result; where making it fails, the next call tries again."""
        if not self._made:
            self._made.append(self._make())
        return self._made[0]
