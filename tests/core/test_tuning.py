"""What a person may change of Auto is what the configuration allows as well."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_proxyd.config.load import load
from ollama_proxyd.config.problems import ConfigError
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.thresholds import AutoSettings, Threshold, thresholds_past
from ollama_proxyd.core.tuning import KEYS, Tuning, change, minute_of_day

percents = st.one_of(st.floats(-20, 120), st.sampled_from([0, 20, 50, 80, 100, -0.0, 100.0001]), st.booleans())
times = st.one_of(
    st.from_regex(r"[0-2][0-9]:[0-6][0-9]", fullmatch=True),
    st.sampled_from(["22:00", "07:00", "7:00", "24:00", "22:00 ", "", "22:00\n", "٢٢:00"]),
)
values = {
    "quiet_hours_enabled": st.one_of(st.booleans(), st.sampled_from([0, 1, "true"])),
    "quiet_hours_start": times,
    "quiet_hours_end": times,
    "critical_battery_percent": percents,
    "low_battery_percent": percents,
    "full_battery_percent": percents,
}


def is_allowed_here(changes: dict[str, Any]) -> bool:
    try:
        change(Tuning(), changes)
    except ProxyError:
        return False
    return True


def is_allowed_in_a_file(changes: dict[str, Any], file: Path) -> bool:
    quiet = {key.removeprefix("quiet_hours_"): value for key, value in changes.items() if "quiet" in key}
    auto = {key: value for key, value in changes.items() if "battery" in key}
    written = [f"efficiency: {{quiet_hours: {_flow(quiet)}, auto: {_flow(auto)}}}"]
    file.write_text("\n".join(written), encoding="utf-8")
    try:
        load(file, {})
    except ConfigError:
        return False
    return True


def _flow(section: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in section.items()) + "}"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\n", "\\n") + '"'
    return f"{value:f}" if isinstance(value, float) else str(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=values))
def test_here_and_in_the_file_the_same_is_allowed(tmp_path: Path, changes: dict[str, Any]) -> None:
    changes = {key: float(f"{each:f}") if isinstance(each, float) else each for key, each in changes.items()}
    assert is_allowed_here(changes) is is_allowed_in_a_file(changes, tmp_path / "config.yaml")


def test_what_is_not_changed_stays() -> None:
    assert change(Tuning(), {}) == Tuning()
    assert change(Tuning(), {"low_battery_percent": 40}) == replace(Tuning(), low_battery_percent=40.0)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_can_be_changed_to_what_it_is(key: str) -> None:
    assert change(Tuning(), {key: asdict(Tuning())[key]}) == Tuning()


def test_a_refusal_shows_the_key_the_value_and_what_is_allowed() -> None:
    with pytest.raises(ProxyError, match=r"low_battery_percent must be a number from 0 to 100, not 140"):
        change(Tuning(), {"low_battery_percent": 140})


def test_quiet_hours_that_are_off_may_begin_when_they_end() -> None:
    off = {"quiet_hours_enabled": False, "quiet_hours_start": "07:00"}
    assert not change(Tuning(), off).quiet_hours_enabled


def test_auto_takes_the_changed_charges_and_keeps_its_other_numbers() -> None:
    auto = Tuning(critical_battery_percent=10, low_battery_percent=30).of_auto(AutoSettings(hot_c=60))
    assert auto == AutoSettings(critical_battery_percent=10, low_battery_percent=30, hot_c=60)
    at_40 = SystemState(on_battery=Reading(True, 0.0), battery_percent=Reading(40.0, 0.0))
    assert Threshold.LOW_BATTERY not in thresholds_past(at_40, auto)
    assert Threshold.LOW_BATTERY in thresholds_past(at_40, AutoSettings())


def test_a_time_of_day_is_minutes_since_midnight() -> None:
    assert [minute_of_day(time) for time in ("00:00", "07:05", "23:59")] == [0, 425, 1439]


def test_a_refusal_does_not_repeat_a_whole_book() -> None:
    with pytest.raises(ProxyError, match="quiet_hours_start has 100000 characters; allowed are 512") as refused:
        change(Tuning(), {"quiet_hours_start": "x" * 100_000})
    assert len(str(refused.value)) < 200


def test_a_key_that_nobody_could_read_is_not_repeated_in_full() -> None:
    with pytest.raises(ProxyError, match="is not a setting") as refusal:
        change(Tuning(), {"x" * 1_000_000: 1})
    assert len(str(refusal.value)) < 400
