"""How fast a temperature rises."""

import pytest

from ollama_proxyd.core.readings import Reading, Unavailable, known
from ollama_proxyd.core.trend import Trend, slope
from tests.reasons import unavailable, why


def test_the_slope_is_that_of_the_line_that_fits_best() -> None:
    assert slope([Reading(50.0 + 0.5 * at_s, at_s) for at_s in (0.0, 5.0, 10.0)]) == pytest.approx(0.5)
    assert slope([Reading(value, at_s) for at_s, value in ((0.0, 50.0), (5.0, 60.0), (10.0, 50.0))]) == 0.0


def test_two_temperatures_or_one_moment_have_no_slope() -> None:
    assert slope([Reading(50.0, 0.0), Reading(60.0, 5.0)]) is None
    assert slope([Reading(50.0, 1.0), Reading(55.0, 1.0), Reading(60.0, 1.0)]) is None


def test_one_jump_moves_a_trend_less_than_it_moves_the_temperature() -> None:
    trend = Trend()
    for at_s in range(0, 30, 5):
        trend.step(Reading(50.0, float(at_s)))
    rising = known(trend.step(Reading(60.0, 30.0)))
    assert rising is not None
    assert 0 < rising < 2.0 / 3


def test_what_is_long_past_is_no_part_of_a_trend() -> None:
    trend = Trend()
    for at_s in range(0, 60, 5):
        trend.step(Reading(100.0 - at_s, float(at_s)))
    for at_s in range(60, 100, 5):
        latest = trend.step(Reading(40.0, float(at_s)))
    assert known(latest) == pytest.approx(0.0)


def test_rare_readings_have_a_trend_too() -> None:
    trend = Trend()
    for at_s, celsius in ((0.0, 40.0), (30.0, 43.0), (60.0, 46.0), (90.0, 49.0)):
        latest = trend.step(Reading(celsius, at_s))
    assert known(latest) == pytest.approx(0.1)


def test_readings_too_far_apart_have_none() -> None:
    trend = Trend()
    for at_s in (0.0, 60.0, 120.0, 180.0):
        latest = trend.step(Reading(50.0, at_s))
    assert isinstance(latest, Unavailable)


def test_a_gap_starts_a_trend_again() -> None:
    trend = Trend()
    for at_s in (0.0, 5.0, 10.0):
        trend.step(Reading(50.0, at_s))
    assert why(trend.step(unavailable("asleep"))) == "asleep"
    assert why(trend.step(Reading(80.0, 20.0))) == "needs 3 readings of it"
