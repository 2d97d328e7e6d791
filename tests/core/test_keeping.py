"""How long an unused model is kept in memory, and who says so."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.keeping import (
    EXACT_S,
    FEW_GAPS,
    LEAST_S,
    MOST_S,
    KeptBy,
    Stay,
    begun,
    chance,
    ended,
    idle_s,
    keep_alive_s,
    seen,
)

gaps = st.lists(st.floats(0, 1e5), max_size=16).map(tuple)


def test_it_is_kept_until_keeping_has_cost_as_much_as_loading_again() -> None:
    assert keep_alive_s(17.0, ()) == 17.0


@given(st.floats(0, inf), gaps)
def test_it_is_kept_neither_for_a_moment_nor_for_ever(break_even_s: float, gaps_s: tuple[float, ...]) -> None:
    assert LEAST_S <= keep_alive_s(break_even_s, gaps_s) <= MOST_S


def test_it_is_kept_longer_where_most_of_the_last_requests_came_soon() -> None:
    assert keep_alive_s(17.0, (20.0, 25.0, 1000.0, 30.0)) == pytest.approx(33.0)
    assert keep_alive_s(17.0, (20.0, 1000.0, 1000.0, 30.0, 1000.0)) == 17.0
    assert keep_alive_s(17.0, (20.0,) * (FEW_GAPS - 1)) == 17.0


def test_requests_that_came_beside_others_say_nothing_of_how_long_it_would_lie_unused() -> None:
    at_once = (0.0,) * 8
    assert keep_alive_s(17.0, (*at_once, 20.0, 1000.0, 1000.0, 30.0, 1000.0)) == 17.0
    assert keep_alive_s(17.0, (*at_once, 20.0, 25.0, 1000.0, 30.0)) == pytest.approx(33.0)


def test_how_long_it_lies_unused_is_the_mean_of_the_last_times() -> None:
    assert idle_s([10.0, 30.0], 20.0) == 15.0
    assert idle_s((), 20.0) == 20.0
    assert chance([10.0, 30.0], 20.0) == 0.5
    assert chance((), 20.0) == 0.0


def served(stay: Stay | None = None, *, is_loaded: bool = False, client_says: bool = False) -> Stay:
    return ended(begun(stay, is_loaded=is_loaded, client_says=client_says), 100.0, 17.0, only_loaded=False)


def test_only_what_the_proxy_loaded_is_its_own() -> None:
    assert served().kept_by is KeptBy.PROXY
    assert served(is_loaded=True).kept_by is KeptBy.OTHER
    assert served(served(is_loaded=True), is_loaded=True).kept_by is KeptBy.OTHER
    assert served(served(client_says=True)).kept_by is KeptBy.CLIENT


def test_an_expiry_that_was_not_asked_for_is_another_programs() -> None:
    ours_s = 117.0
    assert seen(served(), ours_s + EXACT_S / 2).kept_by is KeptBy.PROXY
    assert seen(served(), ours_s - 60).kept_by is KeptBy.PROXY
    assert seen(served(), ours_s + 2 * EXACT_S).kept_by is KeptBy.OTHER
    assert seen(served(), None).kept_by is KeptBy.PROXY
    under_way = begun(served(), is_loaded=True, client_says=False)
    assert seen(under_way, 1e9) is under_way


def test_a_model_at_work_and_one_of_others_leave_at_no_foreseen_time() -> None:
    assert served().until_s(17.0) == 117.0
    assert served(client_says=True).until_s(17.0) == inf
    assert begun(served(), is_loaded=True, client_says=False).until_s(17.0) == inf
