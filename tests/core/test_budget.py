"""The energy budget of a day, and what its end means for the mode."""

import pytest

from ollama_proxyd.core.auto import AS_CHOSEN
from ollama_proxyd.core.budget import BudgetSettings, WhenReached, budget, capped
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeSetting, row_in_force
from ollama_proxyd.core.reasons import Reason

WH = 3600.0
WHY = Reason("budget_ultra", limit_watt_hours=20.0)


@pytest.mark.parametrize(
    ("when", "code"),
    [
        (WhenReached.ULTRA, "budget_ultra"),
        (WhenReached.WARN, "budget_spent"),
        (WhenReached.REFUSE_BACKGROUND, "budget_refuses"),
    ],
)
def test_a_budget_is_spent_from_its_last_watt_hour_on(when: WhenReached, code: str) -> None:
    settings = BudgetSettings(20.0, when)
    assert budget(settings, 19.9 * WH).reason is None
    assert budget(settings, 20 * WH).reason == Reason(code, limit_watt_hours=20.0)
    assert budget(settings, 20 * WH).spent_wh == 20


def test_without_a_limit_nothing_is_ever_spent() -> None:
    assert budget(BudgetSettings(None, WhenReached.ULTRA), 1e9).reason is None


def test_what_a_person_chose_since_then_is_told_where_it_counts() -> None:
    def code(when: WhenReached) -> str | None:
        told = budget(BudgetSettings(20.0, when), 20 * WH, is_overruled=True).reason
        return None if told is None else told.code

    assert code(WhenReached.ULTRA) == "budget_overruled"
    assert code(WhenReached.WARN) == "budget_spent"


@pytest.mark.parametrize("held", [None, Mode.PERFORMANCE])
def test_a_cap_stands_above_what_was_chosen_and_what_is_held(held: Mode | None) -> None:
    fast = ModeSetting(Mode.BALANCED, held or Mode.BALANCED, AS_CHOSEN, DEFAULT_TABLE[held or Mode.BALANCED], held)
    now = capped(fast, WHY, DEFAULT_TABLE)
    assert (now.chosen, now.held, now.effective, now.reason) == (Mode.BALANCED, held, Mode.ULTRA_EFFICIENCY, WHY)
    assert now.row is DEFAULT_TABLE[Mode.ULTRA_EFFICIENCY]


def test_the_limits_of_auto_stay_in_force_under_a_cap() -> None:
    strict = {**DEFAULT_TABLE, Mode.AUTO: DEFAULT_TABLE[Mode.QUIET]}
    auto = ModeSetting(Mode.AUTO, Mode.BALANCED, AS_CHOSEN, DEFAULT_TABLE[Mode.BALANCED])
    assert capped(auto, WHY, strict).row == row_in_force(Mode.AUTO, Mode.ULTRA_EFFICIENCY, strict)


def test_ultra_efficiency_that_was_chosen_keeps_its_own_reason() -> None:
    ultra = ModeSetting(Mode.ULTRA_EFFICIENCY, Mode.ULTRA_EFFICIENCY, AS_CHOSEN, DEFAULT_TABLE[Mode.ULTRA_EFFICIENCY])
    assert capped(ultra, WHY, DEFAULT_TABLE) is ultra


def test_nothing_changes_while_some_is_left() -> None:
    fast = ModeSetting(Mode.BALANCED, Mode.BALANCED, AS_CHOSEN, DEFAULT_TABLE[Mode.BALANCED])
    assert capped(fast, None, DEFAULT_TABLE) is fast
