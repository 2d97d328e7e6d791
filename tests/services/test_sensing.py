"""The quiet hours, kept current without being asked."""

import pytest

from ollama_proxyd.core.readings import Reading, Unavailable
from ollama_proxyd.services.sensing import LONGEST_SLEEP_S, Sensing, seconds_to_boundary
from ollama_proxyd.services.settings import QuietHours
from tests.fakes import FakeClock

NIGHT = QuietHours(start_minute=22 * 60, end_minute=7 * 60)


def sensing_at(minute: float) -> Sensing:
    clock = FakeClock()
    clock.minute = minute
    return Sensing(clock)


@pytest.mark.parametrize(("minute", "quiet"), [(21 * 60 + 59, False), (22 * 60, True), (0, True), (7 * 60, False)])
def test_the_hour_says_whether_it_is_quiet(minute: float, quiet: bool) -> None:
    sensing = sensing_at(minute)
    sensing.look_at_the_hour(NIGHT)
    reading = sensing.system.value.quiet_hours
    assert isinstance(reading, Reading)
    assert reading.value is quiet


def test_without_quiet_hours_the_reason_is_given() -> None:
    sensing = sensing_at(0)
    sensing.look_at_the_hour(None)
    assert isinstance(sensing.system.value.quiet_hours, Unavailable)


def test_the_next_look_is_at_the_boundary() -> None:
    assert sensing_at(21 * 60 + 55).look_at_the_hour(NIGHT) == 5 * 60
    assert seconds_to_boundary(NIGHT, 23 * 60) == 8 * 3600


def test_the_next_look_is_never_far_off_because_local_time_can_jump() -> None:
    assert sensing_at(12 * 60).look_at_the_hour(NIGHT) == LONGEST_SLEEP_S


def test_an_unchanged_hour_is_no_news() -> None:
    sensing = sensing_at(23 * 60)
    sensing.look_at_the_hour(NIGHT)
    before = sensing.system.value
    sensing.look_at_the_hour(NIGHT)
    assert sensing.system.value is before
