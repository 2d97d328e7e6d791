"""Values that are made for every request."""

from dataclasses import field
from dataclasses import replace as replaced_slowly

import pytest

from ollama_proxyd.core.values import replace, value


@value
class Fact:
    """A fact with parts of its own."""

    name: str
    count: int = 0
    parts: tuple[str, ...] = field(default_factory=tuple)


def test_a_value_with_another_part_keeps_the_rest_and_the_old_one_stays_as_it_was() -> None:
    before = Fact("a", 1, ("x",))
    after = replace(before, count=2)
    assert after == Fact("a", 2, ("x",)) == replaced_slowly(before, count=2)
    assert before == Fact("a", 1, ("x",))


def test_values_with_equal_parts_are_one_key() -> None:
    assert {Fact("a"): 1}[Fact("a", 0)] == 1
    assert Fact("a") != Fact("b")


def test_a_part_that_a_value_does_not_have_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        replace(Fact("a"), size=1)  # type: ignore[call-arg]
