"""Values that cannot be are no values, and one odd sample changes nothing."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_proxyd.core.auto import AT_FIRST, step
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.merging import merge
from ollama_proxyd.core.modes import THRIFT, Mode
from ollama_proxyd.core.plausibility import NO_SAMPLE_BEFORE, Screen, plausible, within_power_limit
from ollama_proxyd.core.readings import (
    UNKNOWN_SYSTEM,
    DeviceState,
    Maybe,
    Reading,
    Sensed,
    Unavailable,
    known,
)
from ollama_proxyd.core.thresholds import AutoSettings
from tests.reasons import why


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature_c", 200.0, "reported as 200 °C, outside -20 to 120 °C"),
        ("temperature_c", -128.0, "reported as -128 °C, outside -20 to 120 °C"),
        ("temperature_c", math.nan, "reported as nan °C, outside -20 to 120 °C"),
        ("temperature_c", math.inf, "reported as inf °C, outside -20 to 120 °C"),
        ("fan_rpm", 65535.0, "reported as 65535 rpm, outside 0 to 30000 rpm"),
        ("fan_percent", 255.0, "reported as 255 %, outside 0 to 100 %"),
        ("power_w", 0.0, "reported as 0 W, outside 0.001 to 2000 W"),
        ("power_w", 4294967.0, "reported as 4.29497e+06 W, outside 0.001 to 2000 W"),
        ("battery_percent", 655.0, "reported as 655 %, outside 0 to 100 %"),
        ("utilisation_percent", -1.0, "reported as -1 %, outside 0 to 100 %"),
    ],
)
def test_a_value_that_cannot_be_is_no_value_and_is_named_in_the_reason(name: str, value: float, sentence: str) -> None:
    assert why(plausible(name, Reading(value, 1.0))) == sentence


def test_the_ends_of_a_range_are_values() -> None:
    for name, value in (("temperature_c", 120.0), ("temperature_c", -20.0), ("fan_percent", 0.0), ("fan_rpm", 0.0)):
        assert plausible(name, Reading(value, 1.0)) == Reading(value, 1.0)


def test_watts_far_beyond_a_devices_limit_are_no_value() -> None:
    limit = Reading(100.0, 1.0)
    assert within_power_limit(Reading(149.0, 1.0), limit) == Reading(149.0, 1.0), "short peaks pass a limit"
    sentence = "reported as 151 W, far beyond the device's limit of 100 W"
    assert why(within_power_limit(Reading(151.0, 1.0), limit)) == sentence
    for none in (Unavailable.because("no_limit"), Reading(0.0, 1.0)):
        assert within_power_limit(Reading(151.0, 1.0), none) == Reading(151.0, 1.0)


class Thermometer:
    """A device that is looked at every five seconds through one screen."""

    def __init__(self) -> None:
        self._screen = Screen()
        self.now_s = 0.0

    def look(self, temperature_c: float | None, **parts: float) -> DeviceState:
        self.now_s += 5
        heat: Maybe[float] = Unavailable.because("asleep")
        if temperature_c is not None:
            heat = Reading(temperature_c, self.now_s)
        readings: dict[str, Any] = {name: Reading(value, self.now_s) for name, value in parts.items()}
        device = DeviceState("cpu", Hardware.CPU, "CPU", temperature_c=heat, **readings)
        return self._screen.passed(Sensed(devices=(device,))).devices[0]

    def heat(self, temperature_c: float | None) -> Maybe[float]:
        return self.look(temperature_c).temperature_c


@pytest.mark.parametrize("odd_c", [0.0, 110.0, 255.0, -128.0, math.nan])
def test_after_a_good_reading_one_odd_one_does_not_count(odd_c: float) -> None:
    device = Thermometer()
    device.heat(55.0)
    assert known(device.heat(odd_c)) == 55.0
    assert known(device.heat(57.0)) == 57.0
    assert known(device.heat(odd_c)) == 55.0 + 2.0, "the next odd one does not count either"


def test_a_second_reading_confirms_a_jump() -> None:
    device = Thermometer()
    device.heat(40.0)
    assert known(device.heat(95.0)) == 40.0
    assert known(device.heat(97.0)) == 97.0


def test_readings_that_never_agree_are_no_values() -> None:
    device = Thermometer()
    device.heat(40.0)
    device.heat(100.0)
    assert why(device.heat(-10.0)) == "reported as -10 °C after 40 °C, not confirmed yet"


def test_a_value_that_stays_impossible_is_no_value() -> None:
    device = Thermometer()
    device.heat(40.0)
    device.heat(255.0)
    for _ in range(3):
        assert why(device.heat(255.0)) == "reported as 255 °C, outside -20 to 120 °C"
    assert known(device.heat(41.0)) == 41.0


def test_after_a_silence_no_step_is_too_large() -> None:
    device = Thermometer()
    device.heat(40.0)
    device.now_s += 200
    assert known(device.heat(95.0)) == 95.0
    device.heat(None)
    assert known(device.heat(40.0)) == 40.0, "a device that slept has cooled"


def test_one_odd_sample_moves_no_slope() -> None:
    device = Thermometer()
    for _ in range(4):
        device.look(50.0)
    assert known(device.look(119.0).slope_c_per_s) == 0.0
    assert known(device.look(50.0).slope_c_per_s) == 0.0


def test_a_warming_device_has_a_slope_and_one_that_slept_starts_again() -> None:
    device = Thermometer()
    for celsius in (50.0, 55.0, 60.0):
        state = device.look(celsius)
    assert known(state.slope_c_per_s) == pytest.approx(1.0)
    device.look(None)
    assert why(device.look(60.0).slope_c_per_s) == "needs 3 readings of it"


def test_a_fan_that_never_turned_says_nothing_while_its_device_is_hot() -> None:
    device = Thermometer()
    assert known(device.look(45.0, fan_rpm=0.0, fan_percent=0.0).fan_rpm) == 0.0, "a cool device needs no fan"
    hot = device.look(80.0, fan_rpm=0.0, fan_percent=0.0)
    assert why(hot.fan_rpm) == why(hot.fan_percent) == "reported as 0 rpm since the start, with its device at 80 °C"


def test_a_hot_fan_that_tells_its_share_alone_is_judged_by_it() -> None:
    device = Thermometer()
    assert why(device.look(85.0, fan_percent=0.0).fan_percent) == (
        "reported as 0 rpm since the start, with its device at 85 °C"
    )
    assert known(device.look(85.0, fan_percent=30.0).fan_percent) == 30.0
    assert known(device.look(85.0, fan_percent=0.0).fan_percent) == 0.0


def test_a_fan_that_turned_may_stand_still() -> None:
    device = Thermometer()
    device.look(75.0, fan_rpm=2400.0, fan_percent=40.0)
    assert known(device.look(75.0, fan_rpm=0.0, fan_percent=0.0).fan_rpm) == 0.0


USUAL = {
    "battery_percent": st.floats(0, 100),
    "hottest_c": st.floats(-20, 120),
    "fan_percent": st.floats(0, 100),
}
ODD = st.floats() | st.floats(-20, 120) | st.sampled_from([0.0, 255.0, 65535.0, -273.15])


def auto_modes(name: str, values: list[float], on_battery: bool) -> list[Mode]:
    """What Auto makes of samples that come every five seconds."""
    screen, state, auto, modes = Screen(), UNKNOWN_SYSTEM, AT_FIRST, []
    for index, value in enumerate(values):
        at_s = 5.0 * index
        said: dict[str, Maybe[Any]] = {name: Reading(value, at_s), "on_battery": Reading(on_battery, at_s)}
        state = merge([screen.passed(Sensed(said))], state, ())
        auto = step(auto, state, at_s, AutoSettings(dwell_s=0.0))
        modes.append(auto.mode)
    return modes


@given(
    usual=st.sampled_from(sorted(USUAL)).flatmap(lambda name: st.tuples(st.just(name), USUAL[name])),
    odd=ODD,
    at=st.integers(0, 6),
    on_battery=st.booleans(),
)
@example(usual=("hottest_c", 60.0), odd=99.0, at=3, on_battery=False)
@example(usual=("hottest_c", 45.0), odd=115.0, at=0, on_battery=False)
@example(usual=("fan_percent", 40.0), odd=89.0, at=3, on_battery=False)
@example(usual=("battery_percent", 25.0), odd=18.0, at=3, on_battery=True)
@example(usual=("battery_percent", 60.0), odd=0.0, at=0, on_battery=True)
@example(usual=("battery_percent", 8.0), odd=21.0, at=1, on_battery=True)  # both say that it is low
def test_one_odd_sample_never_switches_auto(usual: tuple[str, float], odd: float, at: int, on_battery: bool) -> None:
    name, value = usual
    steady = auto_modes(name, [value] * 8, on_battery)
    disturbed = auto_modes(name, [*[value] * at, odd, *[value] * (8 - at)], on_battery)
    assert disturbed[-1] is steady[-1]
    way = [THRIFT.index(mode) for mode in (steady[0], *disturbed, steady[-1])]
    assert way in (sorted(way), sorted(way, reverse=True)), "no way back was needed, nor one beyond the last mode"


@pytest.mark.parametrize(
    ("name", "values", "mode"),
    [
        ("hottest_c", [115.0, 45.0, 45.0], Mode.BALANCED),
        ("hottest_c", [60.0, 99.0, 60.0], Mode.BALANCED),
        ("hottest_c", [60.0, 99.0, 101.0], Mode.EFFICIENCY),
        ("hottest_c", [40.0, 110.0, 110.0], Mode.EFFICIENCY),
        ("fan_percent", [40.0, 89.0, 40.0], Mode.BALANCED),
        ("fan_percent", [40.0, 89.0, 88.0], Mode.QUIET),
        ("battery_percent", [0.0, 60.0, 60.0], Mode.BALANCED),
        ("battery_percent", [21.0, 19.0, 19.0], Mode.ULTRA_EFFICIENCY),
    ],
)
def test_auto_follows_the_second_sample(name: str, values: list[float], mode: Mode) -> None:
    assert auto_modes(name, values, on_battery=name == "battery_percent")[-1] is mode


def test_one_sample_that_could_not_be_read_is_no_news() -> None:
    screen, unreadable = Screen(), Unavailable.because("file_unreadable", file="/sys/x", detail="EAGAIN")
    for part in (Reading(92.0, 0.0), Reading(92.0, 5.0), unreadable):
        passed = screen.passed(Sensed({"hottest_c": part})).system["hottest_c"]
    assert known(passed) == 92.0
    assert screen.passed(Sensed({"hottest_c": unreadable})).system["hottest_c"] == unreadable


def test_what_several_signals_tell_of_one_change_is_one_sample() -> None:
    screen = Screen()
    for at_s in (0.0, 0.2):
        passed = screen.passed(Sensed({"battery_percent": Reading(0.0, at_s)})).system["battery_percent"]
    assert isinstance(passed, Reading)
    assert passed.before == NO_SAMPLE_BEFORE


def test_what_nothing_has_confirmed_is_doubted_since_it_was_said() -> None:
    screen = Screen()
    for at_s, percent in ((0.0, 80.0), (1.0, 80.0)):
        screen.passed(Sensed({"battery_percent": Reading(percent, at_s)}))
    assert screen.doubted_s is None
    screen.passed(Sensed({"battery_percent": Reading(30.0, 2.0)}))
    assert screen.doubted_s == 2.0
    confirmed = screen.passed(Sensed({"battery_percent": Reading(30.0, 3.0)})).system["battery_percent"]
    assert known(confirmed) == 30.0
    assert screen.doubted_s is None
