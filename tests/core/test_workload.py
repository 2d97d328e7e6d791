"""How long slots stay taken."""

from math import inf

import pytest

from ollama_proxyd.core.workload import (
    SETTLED,
    YIELDED_PER_S,
    Ahead,
    Followers,
    QueueAhead,
    UnderWay,
    slot_wait_s,
    wait_grows_in_s,
)

NOW_S = 100.0


def running(*left_s: float) -> list[UnderWay]:
    """Requests that are expected to end after so many seconds."""
    return [UnderWay(NOW_S - 1, each + 1) for each in left_s]


def test_the_next_slot_is_free_when_the_first_request_ends() -> None:
    assert slot_wait_s(running(9.0, 4.0), 2, NOW_S) == pytest.approx(4.0)


def test_a_free_slot_needs_no_waiting() -> None:
    assert slot_wait_s(running(9.0), 2, NOW_S) == 0


def test_more_requests_than_slots_are_waited_for_until_one_too_few_is_left() -> None:
    assert slot_wait_s(running(9.0, 4.0, 6.0), 2, NOW_S) == pytest.approx(6.0)


def test_what_waits_before_is_shared_by_the_slots() -> None:
    assert QueueAhead(NOW_S, 2, (Ahead(50.0, 60.0, 10.0),)).wait_s(1.0) == pytest.approx(5.0)


def test_a_short_request_does_not_wait_for_what_lets_it_go_first() -> None:
    chats = Ahead(NOW_S + 10 * YIELDED_PER_S - 5, NOW_S + 10 * YIELDED_PER_S, 30.0)
    assert [QueueAhead(NOW_S, 1, (chats,)).wait_s(work_s) for work_s in (1.0, 10.0)] == [0.0, 30.0]


def test_of_a_line_the_part_counts_that_is_due_before() -> None:
    assert [8 * Ahead(10.0, 20.0, 8.0).before(due_s) for due_s in (9.0, 10.0, 15.0, 20.0)] == [0.0, 0.0, 4.0, 8.0]


def test_what_others_serve_while_a_device_starts_does_not_follow_to_it() -> None:
    followers = Followers(13, 130.0)
    assert followers.left_after(0.0, 2) == 13 - SETTLED
    assert followers.left_after(6.5, 2) == pytest.approx(0.9 * 13 - SETTLED)
    assert followers.left_after(100.0, 2) == Followers(0, 0.0).left_after(1.0, 1) == 0


def test_the_time_that_a_request_has_run_counts() -> None:
    assert UnderWay(NOW_S - 15, 20.0).left_s(NOW_S) == pytest.approx(5.0)


def test_work_past_its_estimate_is_never_taken_to_be_over() -> None:
    lefts_s = [UnderWay(NOW_S, 10.0).left_s(NOW_S + run_s) for run_s in (20, 40, 80)]
    assert lefts_s == pytest.approx([5.0, 10.0, 20.0])


def test_a_clock_that_jumps_back_lengthens_nothing() -> None:
    assert UnderWay(NOW_S + 50, 3.0).left_s(NOW_S) == 3.0


def test_the_wait_for_a_slot_grows_once_the_work_that_frees_it_is_overdue() -> None:
    under_way = running(8.0)
    grows_in_s = wait_grows_in_s(under_way, 1, NOW_S)
    waits_s = [slot_wait_s(under_way, 1, NOW_S + grows_in_s + each) for each in (-0.1, 0.0, 0.1)]
    assert waits_s[0] > waits_s[1] < waits_s[2]
    assert wait_grows_in_s(under_way, 1, NOW_S + 100.0) == 0.0


def test_where_a_slot_is_free_no_wait_grows() -> None:
    assert wait_grows_in_s(running(8.0), 2, NOW_S) == inf
