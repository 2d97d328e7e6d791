"""What sensors report, and the quiet hours, kept current without being asked."""

import pytest

from ollama_proxyd.core.readings import Reading, Sensed, Unavailable, known
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.sensing import LONGEST_SLEEP_S, Sensing, seconds_to_boundary
from ollama_proxyd.services.settings import QuietHours
from ollama_proxyd.services.tasks import Tasks
from tests.core.reference_profile import REFERENCE, device
from tests.fakes import FakeClock, pass_by, settle
from tests.reasons import because, why

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


def test_a_report_adds_to_what_the_same_sensor_said_before() -> None:
    sensing = sensing_at(0)
    sensing.report("upower", Sensed({"on_battery": Reading(True, 1.0), "battery_percent": Reading(80.0, 1.0)}))
    sensing.report("upower", Sensed({"battery_percent": Reading(79.0, 2.0)}))
    assert sensing.system.value.on_battery == Reading(True, 1.0)
    assert sensing.system.value.battery_percent == Reading(79.0, 2.0, before=Reading(80.0, 1.0))


def test_devices_that_a_sensor_no_longer_names_are_gone() -> None:
    sensing = sensing_at(0)
    sensing.report("pci", Sensed(devices=(device("npu"), device("nvidia"))))
    sensing.report("pci", Sensed(devices=(device("npu"),)))
    assert [each.id for each in sensing.system.value.devices] == ["npu"]


def test_a_report_without_news_sets_nothing() -> None:
    sensing = sensing_at(0)
    sensing.report("upower", Sensed({"on_battery": Reading(True, 1.0)}, (device("npu", temperature_c=50.0),)))
    before = sensing.system.value
    sensing.report("upower", Sensed({"on_battery": Reading(True, 9.0)}, (device("npu", temperature_c=50.0),)))
    assert sensing.system.value is before


def test_a_lost_sensor_is_unavailable_with_the_reason_until_it_speaks_again() -> None:
    sensing = sensing_at(0)
    sensing.report("upower", Sensed({"on_battery": Reading(True, 1.0)}))
    sensing.mark_lost("upower", because("stale for 90 s"))
    assert why(sensing.system.value.on_battery) == "stale for 90 s"
    sensing.mark_lost("upower", because("stale for 120 s"))
    assert why(sensing.system.value.on_battery) == "stale for 120 s"
    sensing.report("upower", Sensed({"on_battery": Reading(True, 99.0)}))
    assert sensing.system.value.on_battery == Reading(True, 99.0)


def test_losing_a_sensor_that_never_spoke_changes_nothing() -> None:
    sensing = sensing_at(0)
    before = sensing.system.value
    sensing.mark_lost("upower", because("gone"))
    assert sensing.system.value is before


def test_the_hottest_device_is_one_that_backends_run_on_as_soon_as_they_are_known() -> None:
    sensing = sensing_at(0)
    sensing.report("hwmon", Sensed(devices=(device("npu", temperature_c=50.0), device("cpu", temperature_c=90.0))))
    assert known(sensing.system.value.hottest_c) == 90.0
    sensing.set_backends([view.spec for view in REFERENCE if view.spec.id == "npu"])
    assert known(sensing.system.value.hottest_c) == 50.0


def test_quiet_hours_and_sensors_do_not_disturb_each_other() -> None:
    sensing = sensing_at(23 * 60)
    sensing.report("upower", Sensed({"on_battery": Reading(True, 1.0)}))
    sensing.look_at_the_hour(NIGHT)
    sensing.report("upower", Sensed({"on_battery": Reading(False, 2.0)}))
    assert isinstance(sensing.system.value.quiet_hours, Reading)
    assert sensing.system.value.on_battery == Reading(False, 2.0)


async def test_quiet_hours_that_ended_while_the_machine_slept_have_ended_as_it_wakes() -> None:
    clock = FakeClock()  # noon
    sensing, tuning = Sensing(clock), Cell(Tuning(quiet_hours_start="11:00", quiet_hours_end="13:00"))
    async with Tasks("test") as tasks:
        tasks.start("hour", sensing.follow_the_hour(tuning))
        await settle()
        assert known(sensing.system.value.quiet_hours) is True
        clock.nap(7200.0)
        sensing.wake(False)
        await settle()
        assert known(sensing.system.value.quiet_hours) is False


async def test_quiet_hours_that_somebody_changes_count_at_once() -> None:
    clock = FakeClock()  # noon
    sensing, tuning = Sensing(clock), Cell(Tuning())
    async with Tasks("test") as tasks:
        tasks.start("hour", sensing.follow_the_hour(tuning))
        await settle()
        assert known(sensing.system.value.quiet_hours) is False
        tuning.set(Tuning(quiet_hours_start="11:00", quiet_hours_end="13:00"))
        await settle()
        assert known(sensing.system.value.quiet_hours) is True
        await pass_by(3601)
        assert known(sensing.system.value.quiet_hours) is False
        tuning.set(Tuning(quiet_hours_enabled=False))
        await settle()
        assert why(sensing.system.value.quiet_hours) == "quiet hours are switched off"
