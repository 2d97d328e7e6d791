"""The efficiency mode: chosen, kept, resolved."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.modes import DEFAULT_TABLE, AutoSettings, Mode
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.services.governor import Governor
from tests.fakes import MemoryStore

ON_BATTERY = SystemState(on_battery=Reading(value=True, at_s=0.0), battery_percent=Reading(15.0, 0.0))


def governor(store: MemoryStore | None = None, default: Mode = Mode.BALANCED) -> Governor:
    return Governor(DEFAULT_TABLE, AutoSettings(), default, store or MemoryStore())


def test_the_default_mode_holds_until_one_is_chosen() -> None:
    assert governor(default=Mode.QUIET).setting.value.chosen is Mode.QUIET


def test_a_chosen_mode_is_in_force_at_once() -> None:
    it = governor()
    it.select(Mode.PERFORMANCE)
    assert it.setting.value.row is DEFAULT_TABLE[Mode.PERFORMANCE]


def test_a_chosen_mode_survives_a_restart_and_other_state_is_kept() -> None:
    store = MemoryStore({"other": 1})
    governor(store).select(Mode.EFFICIENCY)
    assert governor(store).setting.value.chosen is Mode.EFFICIENCY
    assert store.state["other"] == 1


def test_a_mode_that_cannot_be_saved_is_in_force_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    store.failing = True
    it = governor(store)
    it.select(Mode.QUIET)
    assert it.setting.value.chosen is Mode.QUIET
    assert "could not be saved" in caplog.text


@pytest.mark.parametrize("saved", ["Turbo", 7, None, ["Quiet"]])
def test_a_saved_mode_that_is_not_one_gives_way_to_the_default(saved: object) -> None:
    assert governor(MemoryStore({"mode": saved})).setting.value.chosen is Mode.BALANCED


def test_auto_follows_the_machine() -> None:
    it = governor(default=Mode.AUTO)
    assert it.setting.value.effective is Mode.BALANCED
    it.observe(ON_BATTERY)
    assert it.setting.value.effective is Mode.ULTRA_EFFICIENCY
    assert it.setting.value.chosen is Mode.AUTO
    assert "15 %" in it.setting.value.reason


def test_imagining_changes_nothing() -> None:
    it = governor()
    before = it.setting.value
    assert it.imagine(Mode.AUTO, ON_BATTERY).effective is Mode.ULTRA_EFFICIENCY
    assert it.setting.value is before


def test_a_new_table_applies_to_the_mode_in_force() -> None:
    it = governor()
    row = replace(DEFAULT_TABLE[Mode.BALANCED], price_of_time_w=9.0)
    it.reconfigure({**DEFAULT_TABLE, Mode.BALANCED: row}, AutoSettings())
    assert it.setting.value.row.price_of_time_w == 9.0
    assert it.setting.value.chosen is Mode.BALANCED
