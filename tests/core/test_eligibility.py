"""Each rule of eligibility, as a sentence."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, Health, LoadedModel, Model, ModelRules, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.requests import Api, Operation
from tests.core.reference_profile import REFERENCE, TINY, ask, backend, codes, order, rejections, with_typical_answer
from tests.reasons import because

NPU, IGPU, NVIDIA, CPU = REFERENCE
VISION = Model("seer:latest", capabilities=frozenset({"completion", "vision"}))
BLIND = Model("tiny:latest", capabilities=frozenset({"completion"}))
EMBEDDER = Model("tiny:latest", capabilities=frozenset({"embedding"}))


def why(view: BackendView, **query: Any) -> list[tuple[str, str]]:
    """The rejections of a single backend."""
    decision = ask((view,), **{"mode": Mode.PERFORMANCE, **query})
    return [(no.code, str(no)) for no in rejections(decision).get(view.spec.id, ())]


def test_images_by_address_go_only_where_they_may_be_fetched() -> None:
    cloud = replace(NPU, spec=replace(NPU.spec, id="cloud", is_local=False, https_images=True), models=(VISION,))
    decision = ask((NPU, cloud), model=None, has_image_urls=True)
    assert order(decision) == ["cloud"]
    said = "npu may not be asked to fetch images by their https addresses"
    assert [str(no) for no in rejections(decision)["npu"]] == [said]


def test_an_engine_of_the_clients_api_on_this_machine_decides_itself_whether_it_fetches_images() -> None:
    here = replace(NPU.spec, id="here", api=Api.OPENAI)
    fleet = (
        NPU,
        replace(NPU, spec=here, models=(VISION,)),
        replace(NPU, spec=replace(here, id="elsewhere", is_local=False), models=(VISION,)),
    )
    assert order(ask(fleet, model=None, has_image_urls=True, may_fetch_here=True)) == ["here"]
    assert order(ask(fleet, model=None, has_image_urls=True)) == []


def test_a_target_rejects_all_others() -> None:
    decision = ask(target="cpu")
    assert order(decision) == ["cpu"]
    assert set(codes(decision)) == {"npu", "igpu", "nvidia"}
    assert str(rejections(decision)["npu"][0]) == "npu is not the target; the request names 'cpu'"


def test_a_down_target_is_never_replaced_by_another() -> None:
    fleet = (replace(NPU, health=Health.DOWN, health_reason=because("connection refused")), IGPU)
    decision = ask(fleet, target="npu")
    assert decision.ranked == ()
    assert str(decision.reason) == "npu is down: connection refused"


def test_an_unknown_target_is_served_by_nobody() -> None:
    decision = ask(target="tpu")
    assert decision.ranked == ()
    assert str(decision.reason) == "no backend is called 'tpu'"


@pytest.mark.parametrize(
    ("health", "reason", "code", "message"),
    [
        (Health.DOWN, "connection refused", "down", "npu is down: connection refused"),
        (Health.DISABLED, "", "disabled", "npu is disabled"),
        (Health.UNKNOWN, "not checked yet", "health_unknown", "npu is not known to be up: not checked yet"),
    ],
)
def test_a_backend_that_is_not_up_is_rejected_with_the_reason(
    health: Health, reason: str, code: str, message: str
) -> None:
    assert why(replace(NPU, health=health, health_reason=because(reason) if reason else None)) == [(code, message)]


def test_a_down_backend_of_unknown_models_is_not_said_to_lack_one() -> None:
    assert [code for code, _ in why(replace(NPU, health=Health.DOWN, models=()))] == ["down"]
    assert [code for code, _ in why(replace(NPU, health=Health.DOWN), model="x")] == ["down", "model_not_held"]


def test_a_backend_that_failed_this_request_is_not_tried_again() -> None:
    decision = ask(tried=frozenset({"igpu"}))
    assert order(decision) == ["nvidia", "npu", "cpu"]
    assert str(rejections(decision)["igpu"][0]) == "igpu had this request before"


def test_a_backend_without_the_model_is_rejected() -> None:
    fleet = (NPU, replace(IGPU, models=(VISION,)), replace(CPU, models=()))
    decision = ask(fleet)
    assert order(decision) == ["npu"]
    assert codes(decision) == {"igpu": ["model_not_held"], "cpu": ["model_not_held"]}
    assert str(rejections(decision)["igpu"][0]) == "igpu does not hold 'tiny'"


def test_a_ranked_backend_is_given_its_own_name_of_the_model() -> None:
    fleet = (replace(NPU, models=(Model("Tiny:latest"),)), replace(IGPU, models=(Model("tiny"),)))
    assert {ranked.backend_id: ranked.model for ranked in ask(fleet).ranked} == {"npu": "Tiny:latest", "igpu": "tiny"}


def test_any_model_means_one_that_can_do_the_work_and_a_loaded_one_first() -> None:
    other, embedder = Model("other:latest"), Model("embedder:latest", capabilities=frozenset({"embedding"}))
    fleet = (replace(NPU, models=(embedder, other, TINY), loaded=(LoadedModel("tiny:latest"),)),)
    assert ask(fleet, model=None).ranked[0].model == "tiny:latest"
    assert ask((replace(NPU, models=(embedder, other), loaded=None),), model=None).ranked[0].model == "other:latest"
    assert codes(ask((replace(NPU, models=()),), model=None)) == {"npu": ["model_not_held"]}


@pytest.mark.parametrize("glob", ["tiny", "TINY:*", "t*", "*:latest", "tiny:latest"])
def test_an_excluded_model_is_rejected_even_where_it_is_supported(glob: str) -> None:
    rules = ModelRules(supported=("*",), preferred=("tiny",), excluded=(glob,))
    assert why(backend("npu", rules=rules)) == [
        ("model_excluded", "npu is configured not to serve 'tiny:latest'"),
    ]


def test_a_model_outside_of_the_supported_ones_is_rejected() -> None:
    assert why(backend("npu", rules=ModelRules(supported=("qwen*", "*:0.5b")))) == [
        ("model_excluded", "npu is configured not to serve 'tiny:latest', only qwen*, *:0.5b"),
    ]
    assert why(backend("npu", rules=ModelRules(supported=("qwen*", "tiny*")))) == []


def test_a_preferred_model_is_also_a_supported_one() -> None:
    assert why(backend("npu", rules=ModelRules(supported=("qwen*",), preferred=("tiny",)))) == []


def test_a_model_larger_than_configured_is_rejected_and_an_unknown_size_is_not() -> None:
    view = backend("npu", rules=ModelRules(max_size_bytes=1_500_000_000))
    message = "'tiny:latest' has 2 GB; npu is configured for at most 1.5 GB"
    assert why(view) == [("model_too_large", message)]
    assert why(replace(view, models=(Model("tiny"),))) == []


def test_images_need_a_model_that_sees() -> None:
    assert why(replace(NPU, models=(BLIND,)), needs_vision=True) == [
        ("no_vision", "'tiny:latest' on npu cannot see images"),
    ]
    assert why(replace(NPU, models=(VISION,)), needs_vision=True, model="seer") == []


def test_unknown_capabilities_exclude_nothing() -> None:
    assert TINY.capabilities is None
    assert why(NPU, needs_vision=True) == []
    assert why(NPU, operation=Operation.COMPLETION) == []


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETION])
def test_an_embedding_model_does_not_chat(operation: Operation) -> None:
    message = f"'tiny:latest' on npu does not support {operation.value}"
    assert why(replace(NPU, models=(EMBEDDER,)), operation=operation) == [("operation_unsupported", message)]


def test_any_model_may_embed() -> None:
    for model in (BLIND, EMBEDDER):
        assert why(replace(NPU, models=(model,)), operation=Operation.EMBEDDING) == []


def test_a_target_overrides_the_limits_of_the_mode() -> None:
    fleet = (replace(NPU, in_flight=5), NVIDIA)
    decision = ask(fleet, Mode.ULTRA_EFFICIENCY, target="nvidia")
    assert order(decision) == ["nvidia"]
    assert str(decision.reason) == "the request names nvidia, which needs 177 J and 3.2 s for about 200 tokens"


def test_a_requests_own_limits_hold_for_its_target_too() -> None:
    assert why(NVIDIA, target="nvidia", max_power_watts=54.5) == [
        ("hint_power", "nvidia needs 55 W, and the request allows at most 54.5 W"),
    ]
    assert why(NPU, target="npu", max_latency_ms=700) == [
        ("hint_latency", "npu would begin to answer after about 800 ms, and the request allows at most 700 ms"),
    ]


def test_a_request_is_never_given_more_power_or_latency_than_it_allows() -> None:
    assert order(ask(max_power_watts=12)) == ["igpu", "npu"]
    assert order(ask(max_latency_ms=350)) == ["igpu", "nvidia"]


def test_the_limit_of_latency_counts_the_queue() -> None:
    assert why(NVIDIA, waits_s={"nvidia": 0.3}, max_latency_ms=350)[0][0] == "hint_latency"


def test_an_answer_that_would_end_after_the_deadline_is_refused_early_and_a_guess_refuses_nothing() -> None:
    known = with_typical_answer((NPU, NVIDIA), 200)
    assert order(ask(known, Mode.EFFICIENCY, time_left_s=5)) == ["nvidia"]
    assert why(known[0], time_left_s=5) == [
        ("deadline_of_end", "npu would end its answer after about 20800 ms, and the request's deadline is in 5000 ms"),
    ]
    assert order(ask((NPU, NVIDIA), Mode.EFFICIENCY, time_left_s=5)) == ["nvidia", "npu"]
    assert order(ask(known, Mode.EFFICIENCY, time_left_s=5, operation=Operation.EMBEDDING))[0] == "npu"


def test_a_backend_that_cannot_begin_before_the_deadline_is_rejected() -> None:
    assert order(ask(time_left_s=0.35)) == ["igpu", "nvidia"]
    assert order(ask(time_left_s=0.3499)) == ["nvidia"]
    assert why(NPU, time_left_s=0.4) == [
        ("deadline", "npu would begin to answer after about 800 ms, and the request's deadline is in 400 ms"),
    ]


def test_every_limit_that_is_exceeded_is_named() -> None:
    decision = ask((CPU,), Mode.EFFICIENCY, max_power_watts=1, max_latency_ms=1, time_left_s=0.001)
    assert codes(decision) == {"cpu": ["hint_power", "hint_latency", "deadline"]}


def test_guessed_watts_are_no_reason_to_refuse() -> None:
    assert why(backend("cpu", Profile()), max_power_watts=1) == []
