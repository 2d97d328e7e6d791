"""What a person changed of Auto's settings: over the configuration, and over restarts."""

from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.services.runtime_settings import RuntimeSettings
from tests.fakes import MemoryStore


def test_a_change_survives_a_restart_and_other_state_is_kept() -> None:
    store = MemoryStore({"mode": "Quiet"})
    RuntimeSettings(Tuning(), store).change({"low_battery_percent": 40, "quiet_hours_end": "06:30"})
    again = RuntimeSettings(Tuning(), store)
    assert again.tuning.value == Tuning(low_battery_percent=40.0, quiet_hours_end="06:30")
    assert again.changed == ("low_battery_percent", "quiet_hours_end")
    assert store.state["mode"] == "Quiet"


def test_a_change_survives_another_configuration_and_stands_over_it() -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"low_battery_percent": 40})
    it.rebase(Tuning(low_battery_percent=60.0, full_battery_percent=90.0))
    assert it.tuning.value == Tuning(low_battery_percent=40.0, full_battery_percent=90.0)
    it.reset(["low_battery_percent"])
    assert it.tuning.value.low_battery_percent == 60.0


def test_what_the_configuration_says_as_well_by_now_is_no_change() -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"low_battery_percent": 40})
    it.rebase(Tuning(low_battery_percent=40.0))
    assert it.changed == ()


def test_changes_that_contradict_a_later_configuration_wait_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"critical_battery_percent": 45})
    lower = Tuning(low_battery_percent=30.0)
    it.rebase(lower)
    assert (it.tuning.value, it.changed) == (lower, ())
    assert "critical_battery_percent 45 is not below low_battery_percent (30)" in caplog.text
    it.rebase(Tuning())
    assert it.tuning.value == Tuning(critical_battery_percent=45.0)


def test_changes_that_wait_do_not_stand_in_the_way_of_others() -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"critical_battery_percent": 45})
    lower = Tuning(low_battery_percent=30.0)
    it.rebase(lower)
    it.change({"quiet_hours_enabled": False})
    assert it.tuning.value == Tuning(low_battery_percent=30.0, quiet_hours_enabled=False)
    assert it.changed == ("quiet_hours_enabled",)
    with pytest.raises(ProxyError, match="critical_battery_percent 45 is not below low_battery_percent"):
        it.change({"critical_battery_percent": 45})


def test_changes_that_wait_come_into_force_with_the_change_that_makes_room_for_them() -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"critical_battery_percent": 45})
    it.rebase(Tuning(low_battery_percent=30.0))
    it.change({"low_battery_percent": 60})
    assert it.tuning.value == Tuning(critical_battery_percent=45.0, low_battery_percent=60.0)


def test_two_settings_that_only_fit_together_are_changed_together() -> None:
    it = RuntimeSettings(Tuning(), MemoryStore())
    it.change({"critical_battery_percent": 55, "low_battery_percent": 60})
    with pytest.raises(ProxyError, match="critical_battery_percent 55 is not below low_battery_percent"):
        it.reset(["low_battery_percent"])
    assert it.tuning.value == Tuning(critical_battery_percent=55.0, low_battery_percent=60.0)
    it.reset()
    assert it.tuning.value == Tuning()


def test_a_refusal_names_the_key_and_changes_nothing() -> None:
    store = MemoryStore()
    it = RuntimeSettings(Tuning(), store)
    with pytest.raises(ProxyError) as refused:
        it.change({"low_battery_percent": 40, "quiet_hours_start": "25:00"})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "quiet_hours_start")
    assert (it.tuning.value, it.changed, store.state) == (Tuning(), (), {})


@pytest.mark.parametrize(
    "saved",
    [7, None, ["low_battery_percent"], {"low_battery_percent": "much"}, {"hot_c": 50}, {"quiet_hours_start": None}],
)
def test_a_memory_that_makes_no_sense_is_ignored(saved: Any) -> None:
    it = RuntimeSettings(Tuning(), MemoryStore({"settings": saved}))
    assert (it.tuning.value, it.changed) == (Tuning(), ())


def test_of_a_memory_that_makes_partly_sense_that_part_counts(caplog: pytest.LogCaptureFixture) -> None:
    it = RuntimeSettings(Tuning(), MemoryStore({"settings": {"low_battery_percent": 40, "full_battery_percent": 400}}))
    assert it.changed == ("low_battery_percent",)
    assert "a saved setting is ignored: full_battery_percent must be a number from 0 to 100, not 400" in caplog.text
