"""Remembers what was computed from immutable objects, by which objects they were."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

Parts = TypeVarTuple("Parts")
Result = TypeVar("Result")

MOST_RESULTS = 4096
"""So many are remembered of each function, then it begins anew."""


def by_identity(function: Callable[[*Parts], Result]) -> Callable[[*Parts], Result]:
    """Remember a pure function's results for arguments that never change.

    The identity of arguments is compared, not their value: hashing a profile takes longer than pricing with it. What
    changes in place, such as a live mapping, must not be an argument.
    """
    memory: dict[tuple[int, ...], tuple[Result, tuple[*Parts]]] = {}

    @wraps(function)
    def remembering(*parts: *Parts) -> Result:
        key = tuple(map(id, parts))
        found = memory.get(key)
        if found is None:
            if len(memory) >= MOST_RESULTS:
                memory.clear()
            found = memory[key] = function(*parts), parts  # kept alive, so that an id stays the same object's
        return found[0]

    return remembering
