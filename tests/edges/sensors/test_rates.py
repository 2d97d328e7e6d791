"""Counters: what two readings say that one cannot."""

import pytest

from ollama_proxyd.core.readings import Reading, known
from ollama_proxyd.edges.sensors.rates import Rate
from tests.reasons import unavailable, why


def test_one_reading_is_no_rate() -> None:
    assert why(Rate().step(100, 0.0)) == "needs 2 readings of it"


def test_a_rate_is_what_the_counter_rose_by_each_second() -> None:
    rate = Rate()
    rate.step(100, 0.0)
    assert rate.step(150, 5.0) == Reading(10.0, 5.0)
    assert rate.total == 50


def test_a_counter_that_wraps_goes_on_rising() -> None:
    rate = Rate(wraps_at=1000)
    rate.step(990, 0.0)
    assert known(rate.step(10, 2.0)) == pytest.approx(10.0)
    assert rate.total == 20


def test_a_counter_that_was_set_back_has_no_rate_until_it_is_read_again() -> None:
    rate = Rate()
    rate.step(990, 0.0)
    assert why(rate.step(10, 2.0)) == "the counter was set back"
    assert known(rate.step(20, 4.0)) == pytest.approx(5.0)
    assert rate.total == 10


def test_a_missing_reading_is_bridged_by_the_next_one() -> None:
    rate = Rate()
    rate.step(100, 0.0)
    assert why(rate.step(unavailable("empty"), 5.0)) == "empty"
    assert known(rate.step(200, 10.0)) == pytest.approx(10.0)


def test_two_readings_at_almost_the_same_moment_count_as_one() -> None:
    rate = Rate()
    rate.step(100, 0.0)
    rate.step(150, 5.0)
    assert rate.step(999, 5.01) == Reading(10.0, 5.0)


def test_after_a_long_silence_the_average_is_old_news() -> None:
    rate = Rate()
    rate.step(0, 0.0)
    assert why(rate.step(10, 3600.0)) == "not read for 3600 s"
    assert known(rate.step(20, 3610.0)) == pytest.approx(1.0)
