"""What was saved against the mode Performance, told honestly."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeRow
from ollama_proxyd.core.policy.comparison import Comparison, compare
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, decide
from ollama_proxyd.core.policy.table import Table
from ollama_proxyd.core.policy.twins import Span, Twins
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, SystemState
from ollama_proxyd.core.requests import Hints, Operation
from tests.core.reference_profile import (
    PROFILES,
    REFERENCE,
    backend,
    device,
    machine,
    priced,
    setting,
    with_typical_answer,
)

FASTEST = DEFAULT_TABLE[Mode.PERFORMANCE]


def compared(
    mode: Mode = Mode.BALANCED,
    fleet: FleetView = REFERENCE,
    system: SystemState = UNKNOWN_SYSTEM,
    row: ModeRow = FASTEST,
    **query: Any,
) -> Comparison | None:
    hints = {name: query.pop(name) for name in tuple(query) if name in [each.name for each in fields(Hints)]}
    asked = Query(**{"model": "tiny", **query}, hints=Hints(**hints))
    assessment = assess(asked, fleet, system, setting(mode, system))
    return compare(decide(assessment), assessment, row, lambda fleet: fleet)


def there(comparison: Comparison | None) -> Comparison:
    assert comparison is not None
    return comparison


def saved(comparison: Comparison, tokens: int | None) -> float:
    """By the first request of a day, which finds in memory what is there."""
    return Twins().saved_j(comparison, tokens, Span(0.0, 1.0))


def joules(backend_id: str, tokens: float) -> float:
    """By hand, for a short prompt on a backend with the model loaded."""
    profile = PROFILES[backend_id]
    assert profile.power_w is not None
    assert profile.ttft_s is not None
    assert profile.decode_tps is not None
    return profile.power_w * (profile.ttft_s + tokens / profile.decode_tps)


def test_the_other_side_is_what_performance_would_have_chosen() -> None:
    comparison = there(compared())
    assert (comparison.served.backend_id, comparison.instead.backend_id) == ("igpu", "nvidia")


@pytest.mark.parametrize("tokens", [1, 200, 3000])
def test_both_sides_are_reckoned_for_the_length_that_the_answer_had(tokens: int) -> None:
    saved_j = saved(there(compared()), tokens)
    assert saved_j == pytest.approx(joules("nvidia", tokens) - joules("igpu", tokens))


def test_where_tokens_were_not_counted_both_sides_stand_for_the_expected_length() -> None:
    comparison = there(compared(fleet=with_typical_answer(REFERENCE, 120)))
    assert comparison.expected_tokens == 120
    assert saved(comparison, None) == pytest.approx(saved(comparison, 120))
    assert saved(comparison, None) == pytest.approx(comparison.instead.energy_j - comparison.served.energy_j)


def test_loading_and_waking_do_not_grow_with_the_answer() -> None:
    cold = tuple(replace(view, loaded=()) if view.spec.id == "nvidia" else view for view in REFERENCE)
    asleep = machine(*(device(name) for name in ("npu", "igpu", "nvidia", "cpu")))
    comparison = there(compared(Mode.EFFICIENCY, fleet=cold, system=asleep))
    longer, shorter = saved(comparison, 400), saved(comparison, 200)
    decode_j = {each.backend_id: each.terms["decode_j"] for each in (comparison.served, comparison.instead)}
    grown_j = (decode_j[comparison.instead.backend_id] - decode_j[comparison.served.backend_id]) * 200 / 200
    assert longer - shorter == pytest.approx(grown_j)


def test_a_negative_saving_is_told_as_it_is() -> None:
    thrifty_and_fast = backend("nvidia", replace(PROFILES["nvidia"], power_w=11.0))
    hot_and_loud = machine(device("nvidia", temperature_c=80.0, fan_percent=100.0))
    fleet = (thrifty_and_fast, backend("igpu"))
    comparison = there(compared(Mode.EFFICIENCY, fleet=fleet, system=hot_and_loud))
    assert (comparison.served.backend_id, comparison.instead.backend_id) == ("igpu", "nvidia")
    assert saved(comparison, 200) < 0


@pytest.mark.parametrize(("mode", "hints"), [(Mode.PERFORMANCE, {}), (Mode.BALANCED, {"target": "npu"})])
def test_where_nothing_could_differ_nothing_was_saved_and_it_was_compared(mode: Mode, hints: dict[str, str]) -> None:
    comparison = there(compared(mode, **hints))
    assert comparison.is_same
    assert saved(comparison, 500) == 0.0


def test_where_performance_would_have_nothing_nothing_is_compared() -> None:
    assert compared(row=replace(FASTEST, max_power_w=1.0, strict=True)) is None


def test_the_chosen_modes_limits_do_not_bind_the_other_side() -> None:
    comparison = there(compared(Mode.ULTRA_EFFICIENCY))
    assert (comparison.served.backend_id, comparison.instead.backend_id) == ("npu", "nvidia")


def test_the_requests_own_limits_bind_both_sides() -> None:
    assert there(compared(max_power_watts=20.0)).instead.power_w <= 20.0


def test_an_embedding_has_no_answer_to_scale() -> None:
    comparison = there(compared(operation=Operation.EMBEDDING))
    assert saved(comparison, 0) == saved(comparison, 1000) == saved(comparison, None)


@given(st.floats(0, 1000), st.one_of(st.none(), st.integers(-5, 10**400)))
def test_the_saving_is_a_number_whatever_a_backend_counts(price_w: float, tokens: int | None) -> None:
    asked = Query(model="tiny")
    assessment = assess(asked, REFERENCE, UNKNOWN_SYSTEM, priced(price_w))
    saved_j = saved(there(compare(decide(assessment), assessment, FASTEST, lambda fleet: fleet)), tokens)
    assert abs(saved_j) < 1e15


def test_the_only_backend_that_fits_is_priced_for_performance_without_a_look_at_what_each_costs_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reckoned(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Table, "least_costs", reckoned)
    found = there(compared(fleet=REFERENCE[:1]))
    assert found.is_same
    assert found.instead.price_of_time_w == FASTEST.price_of_time_w != found.served.price_of_time_w
