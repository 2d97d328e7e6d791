"""Values: frozen for the type checker, as quick to make as any other object, and cheap to declare."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")

__all__ = ["replace", "value"]

_READERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(made: type[T]) -> type[T]:
    """Make a class a dataclass whose fields never change.

    `frozen=True` would look at each field at run time as well, which takes twice as long as making the object. What a
    dataclass writes for itself is compiled anew at each start, a tenth of its time; here all share it. Raises TypeError
    for a class that wants more of a dataclass: `__post_init__`, or fields by keyword alone or not given at all.
    """
    own = set(vars(made))
    found = cast("Any", dataclass(slots=True, eq=False, repr=False, init=False)(made))
    declared = fields(found)
    if hasattr(found, "__post_init__") or any(each.kw_only or not each.init for each in declared):
        raise TypeError(f"{made.__qualname__} is more than a value; make it a dataclass")
    if "__init__" not in own:
        found.__init__ = _maker(found, declared)
    _READERS[found] = _reader([each.name for each in declared])
    compared = _reader([each.name for each in declared if each.compare])
    shown = [each.name for each in declared if each.repr]

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    def hashed(self: object) -> int:
        return hash(compared(self))

    def told(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in shown])})"

    for name, way in (("__eq__", equal), ("__hash__", hashed), ("__repr__", told)):
        if name not in own:
            setattr(found, name, way)
    return cast("type[T]", found)


class _Made:
    """Stands for a field that is not given, where its class makes one for each object."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def _maker(kind: type, declared: Sequence[Field[Any]]) -> FunctionType:
    """The `__init__` of a class: that of all with as many fields, with the names of its own."""
    code = _template(tuple(each.default_factory is not MISSING for each in declared))
    names = {f"field_{number}": each.name for number, each in enumerate(declared)}
    code = code.replace(
        co_varnames=tuple([names.get(each, each) for each in code.co_varnames]),
        co_names=tuple([names.get(each, each) for each in code.co_names]),
        co_qualname=f"{kind.__qualname__}.__init__",
    )
    defaults = [each.default if each.default_factory is MISSING else _Made(each.default_factory) for each in declared]
    return FunctionType(code, globals(), argdefs=tuple([each for each in defaults if each is not MISSING]))


@cache
def _template(are_made: tuple[bool, ...]) -> CodeType:
    """Takes so many fields; says of each whether its class makes one that is not given."""
    names = [f"field_{number}" for number in range(len(are_made))]
    ways = {
        name: f"{name}.make() if type({name}) is _Made else {name}" if is_made else name
        for name, is_made in zip(names, are_made, strict=True)
    }
    lines = [f"  self.{name} = {way}" for name, way in ways.items()] or ["  pass"]
    found: dict[str, Any] = {}
    exec("\n".join([f"def __init__({', '.join(['self', *names])}):", *lines]), found)  # noqa: S102 - written above
    return cast("CodeType", found["__init__"].__code__)


def _reader(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads some fields at once."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda each: tuple([getattr(each, name) for name in names])


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(before, /, **changes):
        """The same as `dataclasses.replace`, of a value that keeps what it is given, in a quarter of the time."""
        kind = type(before)
        after = kind(*_READERS[kind](before))
        for name, each in changes.items():
            setattr(after, name, each)
        return after
