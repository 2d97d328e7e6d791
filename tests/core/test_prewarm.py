"""What is loaded before anybody asks: what pays, and no earlier and no longer than that."""

import pytest

from ollama_proxyd.core.policy.residence import Upkeep
from ollama_proxyd.core.prewarm import LEAD_S, Window, best_ahead

CARD = Upkeep(load_s=10, load_j=500, wake_s=0, wake_j=0, idle_w=10)
MEMORY = Upkeep(load_s=10, load_j=200, wake_s=0, wake_j=0, idle_w=0)
PRICE_W = 50.0


def test_a_daily_habit_is_loaded_for_shortly_before_it() -> None:
    ahead = best_ahead([600.0] * 10, 10, CARD, PRICE_W)
    assert ahead is not None
    assert ahead.begin_s == 600 - LEAD_S - CARD.again_s
    assert ahead.until_s == 600
    assert ahead.gain_j == pytest.approx(PRICE_W * 10 - 10 * (LEAD_S + 10))


def test_what_costs_nothing_to_keep_waits_for_the_whole_hour() -> None:
    ahead = best_ahead([0.0, 900.0, 1800.0, 3500.0] * 3, 12, MEMORY, PRICE_W)
    assert ahead is not None
    assert (ahead.begin_s, ahead.until_s) == (0.0, 3500.0)


def test_what_is_asked_for_on_few_days_is_not_loaded() -> None:
    assert best_ahead([600.0], 10, MEMORY, PRICE_W) is None
    assert best_ahead([], 10, MEMORY, PRICE_W) is None


def test_a_card_is_not_kept_awake_for_a_wait_that_is_worth_less() -> None:
    assert best_ahead([600.0] * 10, 10, CARD, 7.0) is None


def test_of_a_few_days_nothing_is_concluded() -> None:
    assert best_ahead([600.0] * 3, 3, MEMORY, PRICE_W) is None


def test_what_is_left_of_the_hour_and_how_long_it_would_stay_bound_it() -> None:
    ahead = best_ahead([100.0, 900.0, 1000.0, 2000.0] * 3, 12, MEMORY, 500.0, Window(850.0, 300.0))
    assert ahead is not None
    assert ahead.begin_s >= 850.0
    assert ahead.until_s <= ahead.begin_s + 300.0
    assert best_ahead([100.0] * 9, 9, MEMORY, PRICE_W, Window(850.0)) is None
