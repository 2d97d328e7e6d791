"""What a request pays for a model's place in memory: loading, waking, and the time that it lies unused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, LoadedModel, Profile
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.reasons import Reason
from tests.core.reference_profile import backend, only

CARD = Profile(55, 0.15, 65, load_s=4, load_j=100, wake_s=1, wake_j=26, idle_w=9)
PRICE_W = DEFAULT_TABLE[Mode.PERFORMANCE].price_of_time_w
BREAK_EVEN_S = (100 + 26 + PRICE_W * 5) / 9
NOW_S = 1000.0


def card(*loaded: str, gaps_s: Sequence[float] = (), left_s: float | None = None, **memory: Any) -> BackendView:
    expires_s = {} if left_s is None else {"tiny:latest": NOW_S + left_s}
    known = Memory(is_kept_by_us=True, expires_s=expires_s, gaps_s={"tiny:latest": tuple(gaps_s)})
    view = replace(backend("nvidia", CARD), loaded=tuple(map(LoadedModel, loaded)))
    return replace(view, memory=replace(known, **memory))


def terms(view: BackendView) -> dict[str, float]:
    return dict(only(view, now_s=NOW_S).terms)


def test_a_load_pays_for_the_time_unused_up_to_break_even_where_nothing_is_known_of_the_next_request() -> None:
    found = terms(card())
    assert found["keep_alive_s"] == pytest.approx(BREAK_EVEN_S)
    assert found["idle_tail_j"] == pytest.approx(9 * BREAK_EVEN_S)
    assert (found["spared_s"], found["spared_j"]) == (0, 0)


def test_a_renewal_pays_from_the_present_expiry_to_the_new_one() -> None:
    assert terms(card("tiny:latest", left_s=BREAK_EVEN_S))["idle_tail_j"] == pytest.approx(0)
    assert terms(card("tiny:latest", left_s=20.0))["idle_tail_j"] == pytest.approx(9 * (BREAK_EVEN_S - 20))


def test_what_stays_in_any_case_is_renewed_for_nothing() -> None:
    assert terms(card("tiny:latest"))["idle_tail_j"] == 0
    assert terms(card("other"))["idle_tail_j"] == 0


def test_the_more_surely_another_request_comes_anyway_the_less_a_request_pays() -> None:
    often, seldom = terms(card(gaps_s=[10.0] * 4)), terms(card(gaps_s=[1000.0] * 4))
    assert often["idle_tail_j"] == pytest.approx(90)
    assert seldom["idle_tail_j"] == pytest.approx(9 * BREAK_EVEN_S)


def test_loading_that_the_next_request_is_spared_is_taken_off() -> None:
    found = only(card(gaps_s=[10.0, 10.0, 1000.0, 1000.0]), now_s=NOW_S)
    assert (found.terms["spared_s"], found.terms["spared_j"]) == (pytest.approx(2.5), pytest.approx(63))
    without_j = found.energy_j + PRICE_W * found.terms["time_s"]
    assert found.cost_j == pytest.approx(without_j - 63 - PRICE_W * 2.5)


def test_later_requests_bear_no_more_than_all_that_a_load_costs_and_none_of_its_work() -> None:
    found = only(card("other", gaps_s=[10.0] * 4), now_s=NOW_S)
    assert found.terms["idle_tail_j"] == 0
    assert found.terms["spared_j"] < 126
    assert found.cost_j == pytest.approx((55 + PRICE_W) * (found.prefill_s + found.decode_s))


def test_an_engine_that_keeps_models_as_long_as_it_likes_is_not_charged_in_full() -> None:
    found = terms(card(is_kept_by_us=False))
    assert found["keep_alive_s"] == 300
    assert found["idle_tail_j"] == pytest.approx(9 * BREAK_EVEN_S)


def test_a_few_tenths_of_a_watt_do_not_count() -> None:
    view = card()
    thrifty = replace(view, spec=replace(view.spec, profile=replace(CARD, idle_w=0.3)))
    assert terms(thrifty)["idle_tail_j"] == 0


def test_measured_watts_and_loading_times_replace_estimates() -> None:
    view = replace(card(idle_w=5.0, load_s={"tiny:latest": 2.0}))
    view = replace(view, spec=replace(view.spec, profile=replace(CARD, load_s=None, idle_w=None)))
    found = terms(view)
    assert found["load_s"] == 2.0
    assert found["keep_alive_s"] == pytest.approx((100 + 26 + PRICE_W * 3) / 5)
    faster = replace(view, memory=replace(view.memory, load_s={}, bytes_per_s=4e9))
    assert terms(faster)["load_s"] == pytest.approx(0.5 + 2e9 / 4e9)


def test_a_class_of_hardware_has_watts_that_are_called_estimates() -> None:
    view = replace(card(), spec=replace(card().spec, profile=replace(CARD, idle_w=None)))
    notes = [str(note) for note in only(view, now_s=NOW_S).notes]
    assert notes == [
        f"unloads after {BREAK_EVEN_S:.0f} s without requests: loading again costs 126 J, keeping an estimated 9 W"
    ]


def test_an_engine_that_is_off_costs_its_start_and_is_not_refused() -> None:
    on = terms(card())
    off = card(start_s=3.0, is_off=True)
    off = replace(off, spec=replace(off.spec, unit="ollama.service"))
    ranked = only(off, now_s=NOW_S)
    assert ranked.terms["load_s"] == pytest.approx(on["load_s"] + 3.0)
    assert ranked.terms["load_j"] == pytest.approx(on["load_j"] + 3.0 * 55.0)
    assert Reason("engine_starts", unit="ollama.service", start_seconds=3.0) in ranked.notes


def test_an_engine_that_is_stopped_with_its_last_model_is_kept_longer_by_what_its_start_costs() -> None:
    keep_s = terms(card("tiny:latest", start_s=3.0))["keep_alive_s"]
    assert keep_s == pytest.approx(BREAK_EVEN_S + (3.0 * 55.0 + PRICE_W * 3.0) / 9)


def test_what_lies_unused_in_a_strangers_memory_costs_nothing_here_unless_it_is_configured() -> None:
    unknown = replace(CARD, idle_w=None)
    view = replace(
        backend("nvidia", unknown, is_local=False), loaded=(), memory=Memory(gaps_s={"tiny:latest": (60.0,)})
    )
    assert terms(view)["idle_tail_j"] == 0
    paired = replace(view, spec=replace(view.spec, machine="desktop"))
    configured = replace(view, spec=replace(view.spec, profile=CARD))
    assert terms(paired)["idle_tail_j"] > 0
    assert terms(configured)["idle_tail_j"] > 0
