"""Values that are made for every request."""

from dataclasses import field
from dataclasses import replace as replaced_slowly
from typing import Any, cast

import pytest

from ollama_proxyd.core.values import replace, value


@value
class Fact:
    """A fact with parts of its own."""

    name: str
    count: int = 0
    parts: tuple[str, ...] = field(default_factory=tuple)


@value
class Basket:
    """A fact whose first part is made for each."""

    names: list[str] = field(default_factory=list)
    count: int = 0


def test_what_is_not_given_is_made_for_each_value_anew() -> None:
    first, second = Basket(), Basket(names=["a"])
    first.names.append("b")
    assert (first.names, second.names, Basket().names, second.count) == (["b"], ["a"], [], 0)
    with pytest.raises(TypeError, match=r"Basket\.__init__\(\) got an unexpected keyword argument 'size'"):
        cast("Any", Basket)(size=1)


def test_what_is_more_than_a_value_is_refused() -> None:
    with pytest.raises(TypeError, match="is more than a value; make it a dataclass"):

        @value
        class Checked:
            """Has more to do than to keep its parts."""

            name: str

            def __post_init__(self) -> None:
                """Look at them."""


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


@value
class Door:
    """A fact with a part that is told to nobody, and one that makes no difference."""

    key: str = field(repr=False)
    seen_s: float = field(default=0.0, compare=False)


@value
class OtherDoor(Door):
    """Another kind of fact with the same parts."""


@value
class Alone:
    """A fact of one part."""

    name: str


def test_a_value_shows_its_parts_but_those_that_are_told_to_nobody() -> None:
    assert repr(Fact("a", 1)) == "Fact(name='a', count=1, parts=())"
    assert repr(Door("secret", 1.0)) == "Door(seen_s=1.0)"


def test_a_part_that_makes_no_difference_is_not_compared() -> None:
    assert Door("a", 1.0) == Door("a", 2.0)
    assert hash(Door("a", 1.0)) == hash(Door("a", 2.0))
    assert Door("a") != Door("b")


def test_values_of_different_kinds_differ() -> None:
    assert Door("a") != OtherDoor("a")
    assert Fact("a") != ("a", 0, ())


def test_a_value_of_one_part_is_as_any_other() -> None:
    assert replace(Alone("a"), name="b") == Alone("b") != Alone("a")
    assert {Alone("a"): 1} == {Alone("a"): 1}
