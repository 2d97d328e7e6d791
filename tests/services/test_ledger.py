"""The books of the present day."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Energy, Source
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.policy.comparison import Comparison
from ollama_proxyd.core.policy.decision import MOST_ALTERNATIVES, Ranked, Ranking
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.ledger import BackendTotals, Day, Ledger, Outcome
from tests.core.reference_profile import PROFILES, TINY, backend, setting
from tests.fakes import FakeClock

ONE = Outcome("r", Operation.CHAT, "npu", "tiny", None, 0.0, 1.0, usage=Usage(3, 5), energy_j=7.0)
TRIED = AttemptEnded("npu", "tiny", Operation.CHAT, "r", 0.0, 2.0, usage=Usage(3, 5), energy=Energy(7.0))


def test_a_day_begins_with_nothing() -> None:
    assert Ledger(FakeClock()).today == Day()


def test_the_day_sums_up_requests_and_tokens() -> None:
    ledger = Ledger(FakeClock())
    ledger.record(ONE)
    ledger.record(replace(ONE, backend_id="cpu"))
    ledger.record(replace(ONE, backend_id=None, usage=Usage(), energy_j=None, error=ErrorKind.UNAVAILABLE))
    assert ledger.today == Day(requests=3, failures=1, prompt_tokens=6, completion_tokens=10)
    assert (ledger.overall.requests, ledger.overall.failures) == (3, 1)


def test_what_an_attempt_cost_is_its_backends_once_it_is_known() -> None:
    ledger = Ledger(FakeClock())
    ledger.book(replace(TRIED, error=ErrorKind.UPSTREAM_FAILED, usage=Usage()))
    ledger.book(replace(TRIED, backend_id="cpu", cancelled=True))
    ledger.book(replace(TRIED, backend_id="cpu"))
    assert ledger.totals("cpu") == BackendTotals(requests=2, cancelled=1, completion_tokens=10, busy_s=4.0)
    for backend_id in ("npu", "cpu", "cpu"):
        ledger.charge(replace(TRIED, backend_id=backend_id))
    source = Source.ESTIMATED
    assert ledger.totals("npu") == BackendTotals(
        requests=1, failures=1, energy_j=7.0, energy_error_j=3.5, busy_s=2.0, energy_source=source
    )
    expected = BackendTotals(
        requests=2,
        cancelled=1,
        completion_tokens=10,
        energy_j=14.0,
        energy_error_j=7.0,
        busy_s=4.0,
        energy_source=source,
    )
    assert ledger.totals("cpu") == expected
    assert ledger.today == Day()


def test_money_is_summed_by_currency() -> None:
    ledger = Ledger(FakeClock())
    for amount, currency in ((0.5, "EUR"), (0.25, "EUR"), (1.0, "USD"), (0.0, "")):
        ledger.book(replace(TRIED, spent=amount, currency=currency))
    assert ledger.today.spent == ledger.totals("npu").spent == {"EUR": 0.75, "USD": 1.0}


def test_at_midnight_the_day_begins_anew_and_the_totals_go_on() -> None:
    clock = FakeClock()
    clock.minute = 23 * 60 + 59.0
    ledger = Ledger(clock)
    ledger.record(ONE)
    clock.advance(59)
    assert ledger.today.requests == 1
    clock.advance(2)
    assert ledger.today == Day()
    ledger.record(ONE)
    assert (ledger.today.requests, ledger.overall.requests) == (1, 2)


def test_looking_at_another_day_forgets_nothing() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    ledger.record(ONE)
    today = clock.day
    clock.day = date(2026, 1, 15)
    assert ledger.today == Day()
    clock.day = today
    assert ledger.today.requests == 1


SERVED = Ranked("npu", "tiny", 0.0, 10.0, 0.0, 1.0, 10.0, 0.0, 2.0, decode_s=8.0)
INSTEAD = Ranked("nvidia", "tiny", 0.0, 30.0, 0.0, 1.0, 30.0, 0.0, 10.0, decode_s=20.0)
COMPARED = replace(ONE, usage=Usage(3, 10), instead=Comparison(SERVED, INSTEAD, expected_tokens=10.0))


def test_the_day_sums_up_what_was_saved_over_the_requests_that_were_compared() -> None:
    ledger = Ledger(FakeClock())
    ledger.record(COMPARED)
    ledger.record(replace(COMPARED, usage=Usage(3, 20)))
    ledger.record(ONE)
    assert (ledger.today.saved_j, ledger.today.compared, ledger.today.requests) == (20.0 + 32.0, 2, 3)


def test_a_day_can_have_cost_more_than_performance() -> None:
    ledger = Ledger(FakeClock())
    ledger.record(replace(COMPARED, instead=Comparison(INSTEAD, SERVED, expected_tokens=10.0)))
    assert (ledger.today.saved_j, ledger.today.compared) == (-20.0, 1)


@pytest.mark.parametrize("ended", [{"error": ErrorKind.UPSTREAM_FAILED}, {"cancelled": True}, {"instead": None}])
def test_only_answers_in_full_are_compared(ended: dict[str, Any]) -> None:
    ledger = Ledger(FakeClock())
    ledger.record(replace(COMPARED, **ended))
    assert (ledger.today.saved_j, ledger.today.compared) == (0.0, 0)


def test_of_a_decision_among_many_the_books_keep_what_was_priced_and_the_one_that_served() -> None:
    fleet = tuple(backend(f"b{at:02}", PROFILES["igpu"], priority=-at) for at in range(40))
    decision = rank(Query(TINY.name), fleet, UNKNOWN_SYSTEM, setting())
    ledger = Ledger(FakeClock())
    for served in ("b00", "b30"):
        assert decision.ranked[int(served[1:])].backend_id == served
        ledger.record(replace(ONE, decision=decision, backend_id=served))
    first, second = [tuple(each.decision.ranked) for each in ledger.recent() if each.decision is not None]
    assert [each.backend_id for each in first] == ["b00", "b01"]
    assert [each.backend_id for each in second] == [*[f"b{at:02}" for at in range(MOST_ALTERNATIVES + 1)], "b30"]
    assert not any(isinstance(each.decision.ranked, Ranking) for each in ledger.recent() if each.decision is not None)
