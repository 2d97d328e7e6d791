"""Auto over time: it follows the machine, does not flap, protects at once, and always says why."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.auto import AT_FIRST, AutoState, judge, step
from ollama_proxyd.core.modes import THRIFT, Mode
from ollama_proxyd.core.readings import NO_SENSOR, UNKNOWN_SYSTEM, Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.thresholds import AutoSettings, Threshold, thresholds_past
from tests.reasons import unavailable

DEFAULTS = AutoSettings()


def state(**values: Any) -> SystemState:
    return SystemState(**{name: Reading(value, at_s=1.0) for name, value in values.items()})


def battery(percent: float) -> SystemState:
    return state(on_battery=True, battery_percent=percent)


def mains(percent: float) -> SystemState:
    return state(on_battery=False, battery_percent=percent)


def after(*history: tuple[float, SystemState], auto: AutoSettings = DEFAULTS) -> AutoState:
    """What Auto has made of a history of (time, machine)."""
    now = AT_FIRST
    for at_s, system in history:
        now = step(now, system, at_s, auto)
    return now


def test_before_any_sensor_spoke_auto_is_balanced_and_says_so() -> None:
    assert (AT_FIRST.mode, AT_FIRST.reason.code) == (Mode.BALANCED, "no_reading_yet")
    assert step(AT_FIRST, UNKNOWN_SYSTEM, 0.0, DEFAULTS).reason == AT_FIRST.reason


def test_the_first_change_waits_for_nothing() -> None:
    assert after((0.0, battery(43.0))).mode is Mode.EFFICIENCY


def test_a_second_change_waits_until_the_dwell_time_is_over_and_says_so() -> None:
    waiting = after((0.0, battery(43.0)), (10.0, mains(90.0)))
    assert waiting.mode is Mode.EFFICIENCY
    assert waiting.due_s == 30.0
    assert str(waiting.reason) == (
        "Efficiency stays until 30 s after its last change; "
        "then Performance: on mains power with the battery at 90 %, above 80 %"
    )
    done = step(waiting, mains(90.0), 30.0, DEFAULTS)
    assert (done.mode, done.due_s) == (Mode.PERFORMANCE, None)
    assert str(done.reason) == "on mains power with the battery at 90 %, above 80 %"


def test_a_change_that_is_no_longer_wanted_is_not_made() -> None:
    calm = after((0.0, battery(43.0)), (10.0, mains(90.0)), (20.0, battery(42.0)))
    assert (calm.mode, calm.due_s, str(calm.reason)) == (Mode.EFFICIENCY, None, "on battery at 42 %, below 50 %")


def test_a_mode_that_is_confirmed_grows_no_younger() -> None:
    assert after((0.0, battery(43.0)), (25.0, battery(42.0)), (30.0, mains(90.0))).mode is Mode.PERFORMANCE


def test_a_critical_battery_waits_for_nothing() -> None:
    assert after((0.0, battery(43.0)), (1.0, battery(19.0))).mode is Mode.ULTRA_EFFICIENCY


def test_critical_heat_waits_for_nothing() -> None:
    assert after((0.0, mains(90.0)), (1.0, state(on_battery=False, hottest_c=91.0))).mode is Mode.EFFICIENCY
    assert after((0.0, mains(90.0)), (1.0, state(on_battery=False, hottest_c=90.0))).mode is Mode.PERFORMANCE


def test_protection_never_makes_haste_towards_more_power() -> None:
    quiet = state(quiet_hours=True, hottest_c=95.0)
    hot = state(quiet_hours=False, hottest_c=95.0)
    assert after((0.0, mains(90.0)), (1.0, quiet), (2.0, hot)).mode is Mode.QUIET


def test_what_protected_is_left_only_after_the_dwell_time() -> None:
    history = (0.0, battery(43.0)), (1.0, battery(19.0))
    assert after(*history, (30.9, mains(90.0))).mode is Mode.ULTRA_EFFICIENCY
    assert after(*history, (31.0, mains(90.0))).mode is Mode.PERFORMANCE


@pytest.mark.parametrize(
    ("enters", "stays", "leaves", "mode", "sentence"),
    [
        (
            battery(19.9),
            battery(22.9),
            battery(23.0),
            Mode.ULTRA_EFFICIENCY,
            "on battery at 22.9 %, not yet up to 23 %",
        ),
        (battery(49.9), battery(52.9), battery(53.0), Mode.EFFICIENCY, "on battery at 52.9 %, not yet up to 53 %"),
        (
            mains(80.1),
            mains(77.1),
            mains(77.0),
            Mode.PERFORMANCE,
            "on mains power with the battery at 77.1 %, not yet down to 77 %",
        ),
        (
            state(hottest_c=75.1),
            state(hottest_c=70.1),
            state(hottest_c=70.0),
            Mode.EFFICIENCY,
            "the hottest device is at 70.1 °C, not yet down to 70 °C",
        ),
        (
            state(fan_percent=70.1),
            state(fan_percent=60.1),
            state(fan_percent=60.0),
            Mode.QUIET,
            "the fan runs at 60.1 %, not yet down to 60 %",
        ),
    ],
)
def test_a_limit_is_left_further_on_than_it_was_entered(
    enters: SystemState, stays: SystemState, leaves: SystemState, mode: Mode, sentence: str
) -> None:
    history = (0.0, enters), (100.0, stays)
    assert (after(*history).mode, str(after(*history).reason)) == (mode, sentence)
    assert after(*history, (200.0, leaves)).mode is not mode
    assert after((0.0, stays)).mode is not mode


def test_mains_power_ends_a_low_battery_whatever_its_charge() -> None:
    assert after((0.0, battery(43.0)), (100.0, mains(43.0))).mode is Mode.BALANCED


@pytest.mark.parametrize("state", ["pending-charge", "fully-charged"])
@pytest.mark.parametrize("percent", [60.0, 80.0, 97.0])
def test_a_battery_that_is_kept_at_its_charge_limit_is_full(state: str, percent: float) -> None:
    verdict = judge(replace(mains(percent), battery_state=Reading(state, 0.0)), AutoSettings())
    assert verdict.mode is Mode.PERFORMANCE
    assert str(verdict.reason).endswith(f"charged as far as it may be: {percent:g} %")


def test_a_battery_that_charges_or_waits_on_battery_power_is_not_full() -> None:
    for state in ("charging", "empty", "pending-discharge"):
        assert judge(replace(mains(60.0), battery_state=Reading(state, 0.0)), AutoSettings()).mode is Mode.BALANCED
    waiting = replace(battery(60.0), battery_state=Reading("pending-charge", 0.0))
    assert judge(waiting, AutoSettings()).mode is Mode.BALANCED


def test_a_reading_that_went_away_is_past_nothing() -> None:
    gone = replace(battery(43.0), battery_percent=unavailable("stale for 95 s"))
    assert str(after((0.0, battery(43.0)), (100.0, gone)).reason) == "on battery"
    assert after((0.0, battery(43.0)), (100.0, gone), (101.0, battery(51.0))).mode is Mode.BALANCED


def test_every_number_can_be_changed() -> None:
    auto = AutoSettings(battery_margin_percent=10, heat_margin_c=1, fan_margin_percent=1, critical_c=80, dwell_s=5)
    assert after((0.0, battery(43.0)), (9.0, battery(59.0)), auto=auto).mode is Mode.EFFICIENCY
    assert after((0.0, state(hottest_c=76.0)), (9.0, state(hottest_c=74.0)), auto=auto).mode is Mode.BALANCED
    assert after((0.0, state(fan_percent=71.0)), (9.0, state(fan_percent=69.0)), auto=auto).mode is Mode.BALANCED
    assert after((0.0, mains(90.0)), (1.0, state(hottest_c=81.0)), auto=auto).mode is Mode.EFFICIENCY
    assert after((0.0, battery(43.0)), (5.0, mains(90.0)), auto=auto).mode is Mode.PERFORMANCE


def test_heat_that_is_critical_below_the_limit_of_heat_still_counts() -> None:
    auto = AutoSettings(hot_c=80, critical_c=60)
    assert str(judge(state(hottest_c=70.0), auto).reason) == "the hottest device is at 70 °C, above 60 °C"


def readings(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.just(NO_SENSOR) | st.builds(Reading, values, st.just(1.0))


machines = st.builds(
    SystemState,
    on_battery=readings(st.booleans()),
    battery_percent=readings(st.floats(0, 100)),
    quiet_hours=readings(st.booleans()),
    hottest_c=readings(st.floats(20, 110)),
    fan_percent=readings(st.floats(0, 100)),
    power_profile=readings(st.sampled_from(("power-saver", "balanced", "performance"))),
    performance_degraded=readings(st.sampled_from(("", "lap-detected"))),
)
histories = st.lists(st.tuples(st.floats(0.0, 40.0), machines), min_size=1, max_size=25)
"""Pauses in seconds, and what the machine is then."""
numbers = st.builds(
    AutoSettings,
    battery_margin_percent=st.floats(0, 10),
    heat_margin_c=st.floats(0, 10),
    fan_margin_percent=st.floats(0, 20),
    dwell_s=st.floats(0, 60),
)


def walk(history: list[tuple[float, SystemState]], auto: AutoSettings) -> list[tuple[float, SystemState, AutoState]]:
    now_s, now, steps = 0.0, AT_FIRST, []
    for pause_s, system in history:
        now_s += pause_s
        now = step(now, system, now_s, auto)
        steps.append((now_s, system, now))
    return steps


@given(histories, numbers)
def test_over_any_history_auto_changes_twice_in_the_dwell_time_only_to_protect(
    history: list[tuple[float, SystemState]], auto: AutoSettings
) -> None:
    before, changed_s = AT_FIRST, None
    for now_s, _, now in walk(history, auto):
        if now.mode is not before.mode:
            protects = now.past & {Threshold.CRITICAL_BATTERY, Threshold.CRITICAL_HEAT}
            in_time = changed_s is None or now_s >= changed_s + auto.dwell_s
            assert in_time or (protects and THRIFT.index(now.mode) > THRIFT.index(before.mode))
            changed_s = now_s
        before = now


@given(histories, numbers)
def test_over_any_history_auto_has_a_reason_whose_numbers_are_those_of_the_moment(
    history: list[tuple[float, SystemState]], auto: AutoSettings
) -> None:
    for now_s, system, now in walk(history, auto):
        verdict = judge(system, auto, now.past)
        assert str(now.reason).endswith(str(verdict.reason))
        assert (now.mode is verdict.mode) == (now.reason == verdict.reason) == (now.due_s is None)
        assert now.due_s is None or now.due_s > now_s
        assert now.mode is not Mode.AUTO


@given(histories, numbers)
def test_over_any_history_protection_is_immediate(history: list[tuple[float, SystemState]], auto: AutoSettings) -> None:
    for _, system, now in walk(history, auto):
        past = thresholds_past(system, auto)
        if Threshold.CRITICAL_BATTERY in past:
            assert now.mode is Mode.ULTRA_EFFICIENCY
        elif Threshold.CRITICAL_HEAT in past:
            assert THRIFT.index(now.mode) >= THRIFT.index(Mode.EFFICIENCY)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(0, 100), st.sampled_from([20, 50]))
def test_noise_at_an_edge_changes_the_mode_at_most_once(noise: list[float], pause_s: float, edge: float) -> None:
    steps = walk([(100.0 + pause_s, battery(edge + each)) for each in noise], DEFAULTS)
    modes = [now.mode for *_, now in steps]
    assert sum(one is not other for one, other in pairwise(modes)) <= 1


@given(machines, st.floats(0, 1e6))
def test_on_a_machine_that_stays_as_it_is_auto_comes_to_what_this_moment_asks_for(
    system: SystemState, now_s: float
) -> None:
    settled = after((now_s, system), (now_s + 30.0, system))
    assert (settled.mode, settled.reason, settled.due_s) == (*_verdict(system), None)


def _verdict(system: SystemState) -> tuple[Mode, Reason]:
    verdict = judge(system, DEFAULTS)
    return verdict.mode, verdict.reason


def test_turbo_that_is_off_by_the_power_saver_profile_is_no_throttling() -> None:
    hot = "high-operating-temperature"
    saver, other = "power-saver", "balanced"
    assert judge(state(performance_degraded=hot, power_profile=saver), DEFAULTS).reason.code == "power_saver_profile"
    assert judge(state(performance_degraded=hot, power_profile=other), DEFAULTS).reason.code == "performance_degraded"
    lap = "lap-detected"
    assert judge(state(performance_degraded=lap, power_profile=saver), DEFAULTS).reason.code == "performance_degraded"
