"""When a backend may change its model."""

from ollama_proxyd.core.turns import FOLLOW_UP_S, Turn, may_change

LONGEST_S = 30.0
TURN = Turn("a", begun_s=100.0, ended_s=110.0)


def test_a_follower_keeps_the_turn_until_the_other_was_passed_over_for_long_enough() -> None:
    assert not may_change(TURN, 105.0, 105.0 + LONGEST_S - 0.1, LONGEST_S, is_followed=True)
    assert may_change(TURN, 105.0, 105.0 + LONGEST_S, LONGEST_S, is_followed=True)


def test_without_a_follower_the_turn_ends_a_moment_after_the_last_answer() -> None:
    assert not may_change(TURN, 110.0, 110.0 + FOLLOW_UP_S / 2, LONGEST_S, is_followed=False)
    assert may_change(TURN, 110.0, 110.0 + FOLLOW_UP_S, LONGEST_S, is_followed=False)


def test_a_turn_that_began_late_is_not_cut_short_by_one_that_waits_since_before() -> None:
    assert not may_change(TURN, 10.0, 120.0, LONGEST_S, is_followed=True)


def test_no_follower_is_waited_for_longer_than_the_change_takes() -> None:
    assert not may_change(TURN, 110.0, 110.1, LONGEST_S, is_followed=False, load_s=0.2)
    assert may_change(TURN, 110.0, 110.3, LONGEST_S, is_followed=False, load_s=0.2)
