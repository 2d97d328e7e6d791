"""The table of modes, how they are named, and what Auto makes of the machine."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.auto import choose
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, parse_mode, row_in_force
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, Reading, SystemState
from ollama_proxyd.core.thresholds import AutoSettings
from tests.reasons import unavailable


def state(**values: Any) -> SystemState:
    return SystemState(**{name: Reading(value, at_s=1.0) for name, value in values.items()})


def auto(settings: AutoSettings | None = None, **values: Any) -> tuple[Mode, str]:
    setting = choose(Mode.AUTO, state(**values), DEFAULT_TABLE, settings or AutoSettings())
    return setting.effective, str(setting.reason)


def test_every_mode_has_a_row() -> None:
    assert set(DEFAULT_TABLE) == set(Mode)


def test_thriftier_modes_pay_less_for_time_and_allow_less_power() -> None:
    ladder = [DEFAULT_TABLE[m] for m in (Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY)]
    assert [row.price_of_time_w for row in ladder] == [300, 7.5, 4.2, 0.05]
    assert [row.max_power_w for row in ladder] == [None, 60, 15, 10]


def test_the_limits_of_temperature_fans_and_concurrency_are_those_documented() -> None:
    limits = {mode: (row.max_temp_c, row.max_fan_percent, row.max_concurrency) for mode, row in DEFAULT_TABLE.items()}
    assert limits == {
        Mode.PERFORMANCE: (90, None, None),
        Mode.BALANCED: (85, 80, None),
        Mode.EFFICIENCY: (75, 60, None),
        Mode.QUIET: (70, 40, None),
        Mode.AUTO: (85, None, None),
        Mode.ULTRA_EFFICIENCY: (65, 30, 2),
    }


@pytest.mark.parametrize("mode", list(Mode))
def test_a_token_names_its_mode_without_regard_to_case(mode: Mode) -> None:
    assert parse_mode(mode.value) is parse_mode(f" {mode.value.upper()}\n") is parse_mode(mode.value.lower()) is mode


@pytest.mark.parametrize("text", ["Ultra Efficiency", "ultra-efficiency", "ULTRA_EFFICIENCY", "ultraefficiency"])
def test_ultra_efficiency_may_be_two_words(text: str) -> None:
    assert parse_mode(text) is Mode.ULTRA_EFFICIENCY


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("Balance", "Balanced"), ("perf", "Performance"), ("eficiency", "Efficiency"), ("ultra", "UltraEfficiency")],
)
def test_an_unknown_mode_names_those_allowed_and_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {nearest}") as caught:
        parse_mode(text)
    assert all(mode.value in str(caught.value) for mode in Mode)


@pytest.mark.parametrize("text", ["", "zzz", "999", "best-effort\0"])
def test_what_is_like_no_mode_gets_no_guess(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are Performance, Balanced") as caught:
        parse_mode(text)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.AUTO])
def test_a_chosen_mode_is_in_force_whatever_the_machine_says(mode: Mode) -> None:
    setting = choose(mode, state(on_battery=True, battery_percent=1.0), DEFAULT_TABLE, AutoSettings())
    assert (setting.chosen, setting.effective, setting.row) == (mode, mode, DEFAULT_TABLE[mode])
    assert str(setting.reason) == "as chosen"


def test_auto_takes_the_row_of_the_mode_it_chose() -> None:
    setting = choose(Mode.AUTO, state(on_battery=True, battery_percent=43.0), DEFAULT_TABLE, AutoSettings())
    assert setting.chosen is Mode.AUTO
    assert setting.row is DEFAULT_TABLE[Mode.EFFICIENCY]


def test_the_limits_of_auto_hold_where_they_are_stricter_than_those_of_the_mode_that_it_took() -> None:
    fast = choose(Mode.AUTO, state(on_battery=False, battery_percent=95.0), DEFAULT_TABLE, AutoSettings())
    assert fast.effective is Mode.PERFORMANCE
    assert fast.row == replace(DEFAULT_TABLE[Mode.PERFORMANCE], max_temp_c=85)
    assert choose(Mode.PERFORMANCE, UNKNOWN_SYSTEM, DEFAULT_TABLE, AutoSettings()).row.max_temp_c == 90


def test_auto_lifts_no_limit_of_the_mode_that_it_took() -> None:
    table = {**DEFAULT_TABLE, Mode.AUTO: replace(DEFAULT_TABLE[Mode.AUTO], max_temp_c=None, max_power_w=20.0)}
    row = row_in_force(Mode.AUTO, Mode.BALANCED, table)
    assert row == replace(DEFAULT_TABLE[Mode.BALANCED], max_power_w=20.0)


@pytest.mark.parametrize(
    ("values", "mode", "reason"),
    [
        ({"on_battery": True, "battery_percent": 19.0}, "UltraEfficiency", "on battery at 19 %, below 20 %"),
        ({"on_battery": True, "battery_percent": 20.0}, "Efficiency", "on battery at 20 %, below 50 %"),
        ({"on_battery": True, "battery_percent": 43.0}, "Efficiency", "on battery at 43 %, below 50 %"),
        ({"on_battery": True, "battery_percent": 50.0}, "Balanced", "on battery at 50 %"),
        ({"on_battery": True}, "Balanced", "on battery"),
        ({"quiet_hours": True}, "Quiet", "these are the quiet hours"),
        ({"hottest_c": 75.5}, "Efficiency", "the hottest device is at 75.5 °C, above 75 °C"),
        (
            {"performance_degraded": "lap-detected"},
            "Efficiency",
            "the machine is throttled: lap-detected",
        ),
        ({"fan_percent": 71.0}, "Quiet", "the fan runs at 71 %, above 70 %"),
        ({"power_profile": "power-saver"}, "Efficiency", "the power profile is power-saver"),
        (
            {"on_battery": False, "power_profile": "performance"},
            "Performance",
            "on mains power, and the power profile is performance",
        ),
        (
            {"on_battery": False, "battery_percent": 81.0},
            "Performance",
            "on mains power with the battery at 81 %, above 80 %",
        ),
        (
            {"on_battery": False, "battery_percent": 80.0},
            "Balanced",
            "on mains power with the battery at 80 %, not above 80 %",
        ),
        ({"on_battery": False}, "Balanced", "on mains power"),
        ({"battery_percent": 5.0}, "Balanced", "no reading asks for another mode"),
        (
            {"on_battery": False, "battery_percent": 5.0},
            "Balanced",
            "on mains power with the battery at 5 %, not above 80 %",
        ),
        (
            {"hottest_c": 75.0, "fan_percent": 70.0, "performance_degraded": "", "quiet_hours": False},
            "Balanced",
            "no reading asks for another mode",
        ),
    ],
)
def test_auto_says_why(values: dict[str, Any], mode: str, reason: str) -> None:
    assert auto(**values) == (Mode(mode), reason)


def test_earlier_rules_go_before_later_ones() -> None:
    readings: dict[str, Any] = {
        "on_battery": True,
        "battery_percent": 10.0,
        "quiet_hours": True,
        "hottest_c": 90.0,
        "performance_degraded": "lap-detected",
        "fan_percent": 95.0,
        "power_profile": "power-saver",
    }
    calming = [
        ("on battery at 10 %, below 20 %", {"battery_percent": 30.0}),
        ("on battery at 30 %, below 50 %", {"battery_percent": 60.0}),
        ("these are the quiet hours", {"quiet_hours": False}),
        ("the hottest device is at 90 °C, above 75 °C", {"hottest_c": 40.0}),
        ("the machine is throttled: lap-detected", {"performance_degraded": ""}),
        ("the fan runs at 95 %, above 70 %", {"fan_percent": 10.0}),
        ("the power profile is power-saver", {"power_profile": "balanced"}),
        ("on battery at 60 %", {"on_battery": False}),
        ("on mains power with the battery at 60 %, not above 80 %", {}),
    ]
    for reason, change in calming:
        assert auto(**readings)[1] == reason
        readings |= change


def test_auto_without_any_sensor_is_balanced_and_says_so() -> None:
    setting = choose(Mode.AUTO, UNKNOWN_SYSTEM, DEFAULT_TABLE, AutoSettings())
    assert (setting.effective, setting.reason.code) == (Mode.BALANCED, "no_reading_yet")


def test_a_reading_that_went_away_skips_its_rule() -> None:
    system = SystemState(on_battery=Reading(True, 1.0), battery_percent=unavailable("stale for 95 s"))
    assert str(choose(Mode.AUTO, system, DEFAULT_TABLE, AutoSettings()).reason) == "on battery"


def test_every_number_of_auto_can_be_changed() -> None:
    settings = AutoSettings(
        critical_battery_percent=5, low_battery_percent=10, hot_c=60, loud_fan_percent=30, full_battery_percent=50
    )
    assert auto(settings, on_battery=True, battery_percent=6.0)[1] == "on battery at 6 %, below 10 %"
    assert auto(settings, on_battery=True, battery_percent=4.0)[0] is Mode.ULTRA_EFFICIENCY
    assert auto(settings, hottest_c=61.0)[0] is Mode.EFFICIENCY
    assert auto(settings, fan_percent=31.0)[0] is Mode.QUIET
    assert auto(settings, on_battery=False, battery_percent=51.0)[0] is Mode.PERFORMANCE
