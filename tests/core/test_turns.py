"""When a backend may change its model."""

from ollama_proxyd.core.turns import FOLLOW_UP_S, Turn, may_change_s

LONGEST_S = 30.0
TURN = Turn("a", begun_s=100.0, ended_s=110.0)


def test_a_follower_keeps_the_turn_until_the_other_was_passed_over_for_long_enough() -> None:
    assert may_change_s(TURN, 105.0, LONGEST_S, is_followed=True) == 105.0 + LONGEST_S


def test_without_a_follower_the_turn_ends_a_moment_after_the_last_answer() -> None:
    assert may_change_s(TURN, 110.0, LONGEST_S, is_followed=False) == 110.0 + FOLLOW_UP_S


def test_a_turn_that_began_late_is_not_cut_short_by_one_that_waits_since_before() -> None:
    assert may_change_s(TURN, 10.0, LONGEST_S, is_followed=True) == TURN.begun_s + LONGEST_S


def test_no_follower_is_waited_for_longer_than_the_change_takes() -> None:
    assert may_change_s(TURN, 110.0, LONGEST_S, is_followed=False, load_s=0.2) == 110.2


def test_who_was_passed_over_for_long_enough_waits_for_no_follower() -> None:
    assert may_change_s(TURN, 75.0, 5.0, is_followed=False) == TURN.begun_s + 5.0
