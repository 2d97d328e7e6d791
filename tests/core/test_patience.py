"""For how long a request that waits goes on to prefer its backend."""

from math import inf
from typing import Any

import pytest

from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.patience import AFTER_S, patience_s
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.workload import OVERDUE_SHARE

ROW = DEFAULT_TABLE[Mode.BALANCED]
BUSY = Ranked("npu", "m", 100.0, 50.0, 1000.0, 5.0, 10.0, 3.0, 1.0, 6.0, price_of_time_w=ROW.price_of_time_w)
FREE = BUSY._replace(backend_id="nvidia", cost_j=114.0, queue_wait_s=0.0)
TOO_BUSY = (Reason("mode_wait"),)


def patience(*ranked: Ranked, waited_s: float = 0.0, rejected: tuple[Rejected, ...] = (), **facts: Any) -> float:
    query = Query("m", waits_s={"npu": 3.0, "igpu": 2.0}, waited_s=waited_s, **facts)
    why = Reason("cheapest")
    decision = Decision(ranked, rejected, Mode.BALANCED, Mode.BALANCED, why, why)
    return patience_s(decision, query, ROW, 2.0) - AFTER_S


def test_it_lasts_until_waiting_has_come_to_cost_what_a_free_backend_costs() -> None:
    assert patience(BUSY, FREE) == pytest.approx(2.0 + 14.0 / (ROW.price_of_time_w * OVERDUE_SHARE))


def test_a_busy_rival_changes_nothing() -> None:
    assert patience(BUSY, FREE._replace(backend_id="igpu", cost_j=101.0), FREE) == patience(BUSY, FREE)


def test_the_cheapest_that_is_free_counts_although_it_stands_behind_those_within_the_limits() -> None:
    within = FREE._replace(backend_id="cpu", cost_j=130.0)
    assert patience(BUSY, within, FREE) == patience(BUSY, FREE)


def test_without_a_free_backend_it_lasts_until_the_mode_waits_no_longer() -> None:
    left_s = (ROW.max_wait_s or 0.0) - 3.0
    assert patience(BUSY) == pytest.approx(2.0 + left_s / (1 + OVERDUE_SHARE))
    assert patience(BUSY, FREE._replace(cost_j=9e9)) == patience(BUSY)


def test_beyond_the_longest_wait_of_the_mode_time_has_a_price_of_its_own() -> None:
    assert patience(BUSY._replace(beyond=TOO_BUSY), FREE, waited_s=20.0) < patience(BUSY, FREE, waited_s=20.0)


def test_a_deadline_ends_it() -> None:
    assert patience(BUSY, time_left_s=11.0) == pytest.approx(2.0 + 1.0 / (1 + OVERDUE_SHARE))


def test_where_nobody_waits_and_nothing_ends_the_choice_stands_for_ever() -> None:
    assert patience(BUSY._replace(price_of_time_w=0.0), FREE, waited_s=20.0) == inf


def test_a_backend_that_failed_is_asked_for_when_it_may_be_tried_again() -> None:
    rests = Rejected("cpu", (Reason("set_aside", backend_id="cpu", left_seconds=1.5),))
    assert patience(BUSY, FREE, rejected=(rests,)) == pytest.approx(1.5 - AFTER_S)


def test_what_costs_the_same_now_is_looked_at_a_moment_later() -> None:
    assert patience(BUSY, FREE._replace(cost_j=BUSY.cost_j)) == pytest.approx(2.0)
