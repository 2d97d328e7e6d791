"""The beat of what recurs in idle."""

import pytest

from ollama_proxyd.core.wakeup_alignment import next_wakeup_s


@pytest.mark.parametrize(
    ("after_s", "beat_s"), [(60.0, 90.0), (60.4, 90.0), (86.0, 90.0), (87.5, 120.0), (89.999, 120.0), (90.0, 120.0)]
)
def test_the_next_beat_is_a_multiple_of_the_period_and_not_almost_now(after_s: float, beat_s: float) -> None:
    assert next_wakeup_s(after_s, 30.0) == beat_s


@pytest.mark.parametrize(("after_s", "beat_s"), [(60.0, 75.0), (75.0, 135.0), (74.9, 135.0), (100.0, 135.0)])
def test_with_a_phase_every_beat_is_as_much_later(after_s: float, beat_s: float) -> None:
    assert next_wakeup_s(after_s, 60.0, phase=0.25) == beat_s


@pytest.mark.parametrize("period_s", [0.3, 7.0, 30.0, 3600.0])
def test_it_is_never_much_more_than_a_period_away(period_s: float) -> None:
    for step in range(1000):
        after_s = step * 1.7
        assert 0 < next_wakeup_s(after_s, period_s) - after_s <= 1.1 * period_s + 1e-9
