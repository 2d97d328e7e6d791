"""Values that are made for every request: frozen for the type checker, and as quick to make as any other object."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")

__all__ = ["replace", "value"]

_READERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(made: type[T]) -> type[T]:
    """Make a class a dataclass whose fields never change.

    `frozen=True` would look at each field at run time as well, which takes twice as long as making the object.
    """
    found = dataclass(slots=True, unsafe_hash=True)(made)
    _READERS[found] = attrgetter(*[each.name for each in fields(cast("Any", found))])
    return found


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(before, /, **changes):
        """The same as `dataclasses.replace`, of a value with at least two fields, in a quarter of the time."""
        kind = type(before)
        after = kind(*_READERS[kind](before))
        for name, each in changes.items():
            setattr(after, name, each)
        return after
