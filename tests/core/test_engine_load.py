"""What the load that engines tell means for one more request."""

import pytest

from ollama_proxyd.core.engine_load import NOT_TOLD, EngineLoad, Saturation, is_saturated, with_load
from ollama_proxyd.core.fleet import BackendSpec, BackendView
from ollama_proxyd.core.requests import Api

VIEW = BackendView(BackendSpec("a", "a", Api.OPENAI, "http://10.0.0.1:8000"), in_flight=2, slots=4)
LIMITS = Saturation(waiting=5, cache_share=0.8)


def test_requests_of_others_count_and_ours_are_not_counted_twice() -> None:
    assert with_load(VIEW, EngineLoad(running=3, waiting=4)).in_flight == 7
    assert with_load(VIEW, EngineLoad(running=1)) is VIEW
    assert with_load(VIEW, NOT_TOLD) is VIEW


@pytest.mark.parametrize(
    ("load", "wait_s"),
    [
        (EngineLoad(running=4, waiting=0), 0.0),
        (EngineLoad(running=4, waiting=8), 20.0),
        (EngineLoad(running=4, waiting=8, slots=8), 10.0),
        (EngineLoad(waiting=8), 40.0),
        (EngineLoad(running=4, cache_share=0.97), 2.5),
        (EngineLoad(running=4, waiting=8, cache_share=0.97), 20.0),
        (NOT_TOLD, 0.0),
    ],
)
def test_what_waits_goes_first_and_a_full_cache_counts_as_one(load: EngineLoad, wait_s: float) -> None:
    assert load.wait_s(slots=2, each_s=10.0) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("load", "is_too_much"),
    [
        (EngineLoad(running=100, waiting=4, cache_share=0.79), False),
        (EngineLoad(waiting=5), True),
        (EngineLoad(cache_share=0.8), True),
        (NOT_TOLD, False),
    ],
)
def test_an_engine_is_saturated_by_its_queue_or_its_cache(load: EngineLoad, is_too_much: bool) -> None:
    assert is_saturated(VIEW, load, LIMITS) is is_too_much


def test_one_that_tells_nothing_is_saturated_when_its_slots_are_taken() -> None:
    view = BackendView(VIEW.spec, in_flight=4, slots=4)
    assert is_saturated(view, NOT_TOLD, LIMITS)
    assert not is_saturated(view, EngineLoad(running=4, waiting=0), LIMITS), "it told that none waits"
