"""A day's energy budget: what happens once it is spent, until midnight."""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ollama_proxyd.core.budget import BudgetSettings, WhenReached
from ollama_proxyd.core.energy_books import Asked, Books, DeviceCost
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Finished, FinishReason
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints, LoadAction, Priority
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, MemoryHistory, MemoryStore, pass_by, services_of, settle
from tests.services.test_gateway import request

TINY_WH = 1e-9
DAY_S = 24 * 3600.0
BACKGROUND: dict[str, Any] = {"priority": Priority.BEST_EFFORT}


async def answer_slowly(services: Services, **hints: Any) -> None:
    """An answer takes energy, since time passes."""
    async for _ in services.gateway.answer(request(**hints)):
        assert isinstance(services.clock, FakeClock)
        services.clock.advance(1)


async def spent(when: WhenReached, limit_wh: float | None = TINY_WH, store: MemoryStore | None = None) -> Services:
    services = await services_of(
        FakeBackend("npu"), clock=FakeClock(), store=store, budget=BudgetSettings(limit_wh, when)
    )
    await answer_slowly(services)
    return services


def turn_to_tomorrow(services: Services) -> None:
    assert isinstance(services.clock, FakeClock)
    services.clock.advance(DAY_S / 2)
    services.budget.look()


async def test_ultra_efficiency_counts_from_the_answer_that_spent_it_until_midnight() -> None:
    services = await spent(WhenReached.ULTRA)
    now = services.governor.setting.value
    assert (now.chosen, now.effective) == (Mode.BALANCED, Mode.ULTRA_EFFICIENCY)
    assert now.reason.code == "budget_ultra"
    turn_to_tomorrow(services)
    assert services.governor.setting.value.effective is Mode.BALANCED


async def test_a_program_that_holds_a_mode_does_not_overrule_the_budget() -> None:
    services = await spent(WhenReached.ULTRA)
    services.governor.hold(Mode.PERFORMANCE, "", "app", ":1.1")
    assert services.governor.setting.value.effective is Mode.ULTRA_EFFICIENCY


async def test_a_mode_that_a_person_chooses_afterwards_counts_until_midnight_even_over_a_restart() -> None:
    store = MemoryStore()
    services = await spent(WhenReached.ULTRA, store=store)
    services.governor.select(Mode.PERFORMANCE)
    assert services.governor.setting.value.effective is Mode.PERFORMANCE
    reason = services.budget.now.reason
    assert reason is not None
    assert reason.code == "budget_overruled"
    again = await spent(WhenReached.ULTRA, store=store)
    assert again.governor.setting.value.effective is Mode.PERFORMANCE
    turn_to_tomorrow(again)
    await answer_slowly(again)
    assert again.governor.setting.value.effective is Mode.ULTRA_EFFICIENCY


async def test_a_mode_that_was_chosen_before_does_not_overrule_it() -> None:
    services = await spent(WhenReached.ULTRA, limit_wh=1e6)
    services.governor.select(Mode.PERFORMANCE)
    services.budget.reconfigure(BudgetSettings(TINY_WH, WhenReached.ULTRA))
    assert services.governor.setting.value.effective is Mode.ULTRA_EFFICIENCY


async def test_asking_what_another_mode_would_do_tells_what_choosing_it_would() -> None:
    services = await spent(WhenReached.ULTRA)
    explain = services.gateway.explain
    assert explain(Query("m")).effective_mode is Mode.ULTRA_EFFICIENCY
    assert explain(Query("m"), Mode.PERFORMANCE).effective_mode is Mode.PERFORMANCE
    assert explain(Query("m"), Mode.BALANCED).effective_mode is Mode.BALANCED
    assert explain(Query("m"), None, services.system.value).effective_mode is Mode.ULTRA_EFFICIENCY


async def test_a_reload_changes_the_limit_at_once() -> None:
    services = await spent(WhenReached.ULTRA)
    services.budget.reconfigure(BudgetSettings(1e6, WhenReached.ULTRA))
    assert services.governor.setting.value.effective is Mode.BALANCED
    assert services.budget.now.reason is None


async def test_requests_in_the_background_are_refused_until_midnight() -> None:
    services = await spent(WhenReached.REFUSE_BACKGROUND)
    with pytest.raises(ProxyError) as refused:
        await answer_slowly(services, **BACKGROUND)
    error = refused.value
    assert (error.kind, error.code) == (ErrorKind.OVERLOADED, "budget_spent")
    assert error.retry_after_s == pytest.approx((24 * 60 - services.clock.local_minute()) * 60)
    assert "until midnight" in error.message
    await answer_slowly(services, priority=Priority.NORMAL)
    turn_to_tomorrow(services)
    await answer_slowly(services, **BACKGROUND)


async def test_explain_tells_that_such_a_request_would_be_refused() -> None:
    services = await spent(WhenReached.REFUSE_BACKGROUND)
    told = services.gateway.explain(Query("m", hints=Hints(**BACKGROUND)))
    assert (told.ranked, told.reason.code) == ((), "budget_refuses")


async def test_a_warning_refuses_nothing_and_is_logged_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        services = await spent(WhenReached.WARN)
        for _ in range(3):
            await answer_slowly(services, **BACKGROUND)
    assert [each.getMessage() for each in caplog.records if "spent" in each.getMessage()] == [
        "today's 1e-09 Wh are spent"
    ]
    assert services.governor.setting.value.effective is Mode.BALANCED


class Remembering(MemoryHistory):
    """A history of the day of the test, from before the start."""

    joules = 3600.0

    async def books(self, asked: Asked) -> Books:
        own = sum(row.values["joules"] for row in self.rows if row.values.get("day") == asked.until)
        kept = self.joules if asked.until == "2027-01-15" else 0.0
        return Books(asked, devices=(DeviceCost("npu", "active", "estimated", kept + own, 0.0), BASE))


BASE = DeviceCost("npu", "base", "measured", 1e9, 0.0)


async def test_after_a_restart_the_history_tells_what_the_day_had_spent_before() -> None:
    services = await spent(WhenReached.WARN, limit_wh=1e6)
    own_wh = services.budget.now.spent_wh
    services.history.store = Remembering()
    tasks = Tasks("test")
    services.budget.follow(services.system, tasks)
    await settle()
    assert services.budget.now.spent_wh == pytest.approx(1 + own_wh)
    assert isinstance(services.clock, FakeClock)
    services.clock.day += timedelta(1)
    services.budget.look()
    await settle()
    assert services.budget.now.spent_wh == 0
    services.clock.day -= timedelta(1)  # the clock is set back, and the same day comes again
    services.budget.look()
    await settle()
    assert services.budget.now.spent_wh == pytest.approx(1 + own_wh)
    await tasks.close()


async def test_without_a_history_the_sum_says_that_it_counts_since_the_start() -> None:
    services = await spent(WhenReached.WARN)
    store = services.history.store
    assert isinstance(store, MemoryHistory)
    store.trouble = Reason("history_off")
    assert str(services.budget.now.incomplete).startswith("counted since the daemon started: ")


async def test_midnight_comes_without_any_request_or_sensor() -> None:
    services = await spent(WhenReached.ULTRA)
    tasks = Tasks("test")
    services.budget.follow(services.system, tasks)
    await pass_by(DAY_S / 2 + 60)
    assert services.governor.setting.value.effective is Mode.BALANCED
    await tasks.close()


async def test_unloading_a_model_is_never_refused() -> None:
    services = await spent(WhenReached.REFUSE_BACKGROUND)
    unload = replace(request(**BACKGROUND), load_action=LoadAction.UNLOAD)
    events = [event async for event in services.gateway.answer(unload)]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.UNLOAD
