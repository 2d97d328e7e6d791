"""A number of a surface has the digits that mean something."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.digits import shortened


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (23.13922442647396, 23.1392),
        (350.00000000000006, 350.0),
        (1795922066.4794533, 1795922066.479),
        (43851154.88411975, 43851154.884),
        (-0.01218087635669993, -0.0121809),
        (0.0000015000000000000002, 0.0000015),
        (0.1 + 0.2, 0.3),
        (0.0, 0.0),
    ],
)
def test_six_digits_count_and_thousandths_stay(value: float, told: float) -> None:
    assert shortened(value) == told


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_told_is_near_and_told_again_the_same(value: float) -> None:
    told = shortened(value)
    assert math.isclose(told, value, rel_tol=1e-5)
    assert shortened(told) == told


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays(value: float) -> None:
    assert repr(shortened(value)) == repr(value)


def test_numbers_within_lists_and_objects_are_shortened_and_all_else_stays() -> None:
    value = {"a": [0.30000000000000004, True, None, 7, "0.30000000000000004"], "b": ({"c": 1 / 3},)}
    assert shortened(value) == {"a": [0.3, True, None, 7, "0.30000000000000004"], "b": [{"c": 0.333333}]}
    assert shortened(value)["a"][1] is True
