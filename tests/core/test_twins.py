"""What a day of Performance would have drawn beside the real one: each side has its own models in memory."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.fleet import BackendView, LoadedModel
from ollama_proxyd.core.policy.comparison import Comparison
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.residence import Residence, Upkeep
from ollama_proxyd.core.policy.twins import Span, Twins
from tests.core.reference_profile import backend

COSTS = Upkeep(load_s=2.0, load_j=100.0, wake_s=1.0, wake_j=20.0, idle_w=9.0)
SMALL = Ranked("npu", "tiny", 0.0, 10.0, 0.0, 1.0, 10.0, 0.0, 0.0, decode_s=10.0)
COLD = Residence(wake_s=1.0, load_s=2.0, wake_j=20.0, load_j=100.0, keep_alive_s=60.0)
LARGE = Ranked("nvidia", "tiny", 0.0, 150.0, 0.0, 30.0, 4.0, 0.0, 0.0, decode_s=1.0, stay=COLD)
COMPARED = Comparison(SMALL, LARGE, expected_tokens=10.0, costs=(None, COSTS))
"""The real card stays cold, as nothing goes there."""


def saved(twins: Twins, begun_s: float) -> float:
    return twins.saved_j(COMPARED, 10, Span(begun_s, begun_s + 10.0))


def test_its_first_request_loads_and_the_next_ones_find_the_model_in_memory() -> None:
    twins = Twins()
    assert saved(twins, 0.0) == pytest.approx(30 + 120 - 10)
    assert saved(twins, 14.0) == pytest.approx(30 + 9 * (14 - 4) - 10)


def test_the_idle_tail_ends_when_the_model_leaves_and_then_it_is_loaded_anew() -> None:
    twins = Twins()
    saved(twins, 0.0)
    assert saved(twins, 1000.0) == pytest.approx(30 + 9 * 60 + 120 - 10)


def test_the_same_choice_with_the_same_memory_saves_nothing() -> None:
    twins = Twins()
    same = Comparison(LARGE, LARGE, 10.0, (COSTS, COSTS))
    spans = [Span(at_s, at_s + 4.0) for at_s in (0.0, 20.0, 500.0)]
    assert [twins.saved_j(same, 10, span) for span in spans] == [0, 0, 0]


def test_one_tail_is_charged_however_many_answers_overlap() -> None:
    twins = Twins()
    saved(twins, 0.0)
    assert saved(twins, 1.0) == pytest.approx(30 - 10)
    assert saved(twins, 15.0) == pytest.approx(30 + 9 * 10 - 10)


def test_performance_finds_in_memory_what_it_would_have_put_there_itself() -> None:
    twins, card = Twins(), replace(backend("nvidia"), loaded=())
    fleet = (card, backend("npu"))
    assert twins.instead(fleet, 0.0) is fleet
    saved(twins, 0.0)
    warm, other = twins.instead(fleet, 20.0)
    assert (warm, other) == (replace(card, loaded=(LoadedModel("tiny"),)), fleet[1])
    assert twins.instead(fleet, 21.0)[0] is warm
    busy = of(twins, replace(card, in_flight=1), 21.0)
    assert (busy.in_flight, busy.loaded) == (1, warm.loaded)
    assert busy.loaded is warm.loaded
    assert of(twins, card, 1000.0).loaded == ()
    assert of(twins, replace(card, loaded=(LoadedModel("tiny"),)), 1000.0).loaded == ()
    assert of(twins, replace(card, loaded=None), 20.0).loaded is None


def test_of_a_backend_that_is_gone_nothing_is_kept() -> None:
    twins = Twins()
    first_j = saved(twins, 0.0)
    of(twins, replace(backend("nvidia"), loaded=()), 5.0)
    twins.forget_all_but({"npu"})
    twins.forget_all_but({"npu", "nvidia"})
    assert saved(twins, 14.0) == first_j, "one of the same id begins anew"


def of(twins: Twins, view: BackendView, now_s: float) -> BackendView:
    (found,) = twins.instead((view,), now_s)
    return found
