"""Which of the two names of power-profiles-daemon is believed, and what it says."""

import logging

import pytest

from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.edges.plumbing.dbus_properties import NotRunning
from ollama_proxyd.edges.sensors.desktop_services import POWER_PROFILES
from ollama_proxyd.edges.sensors.desktop_services import read_power_profiles as read
from tests.reasons import because, unavailable, why

BALANCED = {"ActiveProfile": "balanced", "PerformanceDegraded": "", "ActiveProfileHolds": []}
SAVER = {"ActiveProfile": "power-saver", "PerformanceDegraded": "lap-detected", "ActiveProfileHolds": [{}]}
NOT_INSTALLED = NotRunning(because("power-profiles-daemon is not installed"), is_installed=False)
NOT_RUNNING = NotRunning(because("power-profiles-daemon is not running"), is_installed=True)
NO_ANSWER = unavailable("power-profiles-daemon does not answer")


def test_the_profile_and_the_reason_for_its_weakness_are_read() -> None:
    assert read((SAVER, NOT_INSTALLED)) == {"power_profile": "power-saver", "performance_degraded": "lap-detected"}


def test_a_profile_that_is_kept_up_has_an_empty_reason_and_that_is_a_reading() -> None:
    assert read((BALANCED, BALANCED))["performance_degraded"] == ""


def test_the_present_name_is_believed_before_the_old_one() -> None:
    assert read((BALANCED, SAVER))["power_profile"] == "balanced"


def test_the_old_name_is_believed_where_there_is_no_other() -> None:
    assert read((NOT_INSTALLED, SAVER))["power_profile"] == "power-saver"
    assert read((NO_ANSWER, SAVER))["power_profile"] == "power-saver"


@pytest.mark.parametrize(
    ("present", "old", "reason"),
    [
        (NOT_INSTALLED, NOT_INSTALLED, NOT_INSTALLED),
        (NOT_INSTALLED, NOT_RUNNING, NOT_RUNNING),
        (NOT_RUNNING, NOT_INSTALLED, NOT_RUNNING),
        (NO_ANSWER, NOT_INSTALLED, NO_ANSWER),
    ],
)
def test_without_the_daemon_the_most_telling_reason_is_given(
    present: Unavailable, old: Unavailable, reason: Unavailable
) -> None:
    assert read((present, old)) == dict.fromkeys(POWER_PROFILES.parts, reason)


def test_a_version_that_knows_no_degradation_is_not_taken_for_a_good_one() -> None:
    told = read(({"ActiveProfile": "balanced"}, NOT_INSTALLED))
    assert why(told["performance_degraded"]) == "power-profiles-daemon does not report PerformanceDegraded"


def test_the_number_of_holds_is_a_matter_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    read((SAVER, NOT_INSTALLED))
    assert "power-profiles-daemon: 1 holds" in caplog.text
