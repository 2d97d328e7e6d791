"""What a client is told when nothing can serve its request."""

from dataclasses import replace

from ollama_proxyd.core import refusal as refusals
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, Health, Model
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeSetting
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.refusal import refusal
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.sentences import REJECTIONS
from tests.fakes import spec_of
from tests.reasons import because

TINY = Model("tiny:latest", capabilities=frozenset({"completion"}))


def view(backend_id: str, *models: Model, health: Health = Health.UP) -> BackendView:
    reason = "" if health is Health.UP else "Connection refused"
    return BackendView(spec_of(backend_id), health=health, health_reason=because(reason), models=models or (TINY,))


def refused(query: Query, *fleet: BackendView, mode: Mode = Mode.BALANCED) -> ProxyError:
    setting = ModeSetting(mode, mode, because("chosen"), DEFAULT_TABLE[mode])
    decision = rank(query, fleet, SystemState(), setting)
    assert not decision.ranked
    return refusal(query, decision, fleet, seen_within_s=15.0)


def test_an_unknown_target_is_not_found_and_the_backends_are_named() -> None:
    error = refused(Query("tiny", hints=Hints(target="tpu")), view("npu"), view("igpu"))
    assert error.kind is ErrorKind.BACKEND_NOT_FOUND
    assert error.param == "target"
    assert "npu, igpu" in error.message


def test_a_target_that_is_down_is_unavailable_however_many_others_are_up() -> None:
    error = refused(Query("tiny", hints=Hints(target="npu")), view("npu", health=Health.DOWN), view("igpu"))
    assert error.kind is ErrorKind.UNAVAILABLE
    assert error.retry_after_s == 15.0
    assert "Connection refused" in error.message


def test_a_target_that_lacks_the_model_says_what_it_holds() -> None:
    error = refused(Query("big", hints=Hints(target="npu")), view("npu"), view("igpu", Model("big")))
    assert error.kind is ErrorKind.MODEL_NOT_FOUND
    assert "available on npu: tiny:latest" in error.message


def test_a_model_that_nobody_holds_is_not_found_and_the_message_lists_what_there_is() -> None:
    error = refused(Query("nope"), view("npu"), view("igpu", Model("big")))
    assert error.kind is ErrorKind.MODEL_NOT_FOUND
    assert error.param == "model"
    assert "big, tiny:latest" in error.message


def test_a_model_that_only_a_backend_that_is_down_holds_is_a_matter_of_time() -> None:
    error = refused(Query("big"), view("npu"), view("igpu", Model("big"), health=Health.DOWN))
    assert error.kind is ErrorKind.UNAVAILABLE
    assert error.retry_after_s
    assert "igpu" in error.message


def test_without_any_backend_the_daemon_is_unavailable() -> None:
    error = refused(Query("tiny"))
    assert error.kind is ErrorKind.UNAVAILABLE
    assert "no backend is configured, and none was found" in error.message


def test_with_every_backend_down_the_daemon_is_unavailable() -> None:
    assert refused(Query("nope"), view("npu", health=Health.DOWN)).kind is ErrorKind.UNAVAILABLE


def test_an_image_for_a_model_that_cannot_see_is_the_requests_fault() -> None:
    assert refused(Query("tiny", needs_vision=True), view("npu")).kind is ErrorKind.UNSUPPORTED


def test_a_mode_whose_limit_leaves_nothing_is_unavailable_and_the_message_names_mode_and_limit() -> None:
    error = refused(Query("tiny"), view("nvidia"), mode=Mode.ULTRA_EFFICIENCY)
    assert error.kind is ErrorKind.UNAVAILABLE
    assert "Ultra Efficiency allows at most 10 W" in error.message


def test_a_mode_whose_concurrency_is_used_up_asks_to_come_later() -> None:
    busy = replace(view("npu"), in_flight=2)
    assert refused(Query("tiny"), busy, mode=Mode.ULTRA_EFFICIENCY).kind is ErrorKind.OVERLOADED


def test_a_limit_of_the_request_is_named_by_its_header() -> None:
    error = refused(Query("tiny", hints=Hints(max_power_watts=1.0)), view("npu"))
    assert error.kind is ErrorKind.UNAVAILABLE
    assert error.param == "max_power_watts"


def test_a_deadline_that_no_backend_can_meet_is_a_timeout() -> None:
    assert refused(Query("tiny", time_left_s=0.1), view("npu")).kind is ErrorKind.UPSTREAM_TIMEOUT


def test_every_code_that_a_refusal_asks_for_is_one_of_a_rejection() -> None:
    asked = {*refusals._NOT_UP, *refusals._PARAMS, *(code for group, _ in refusals._KINDS for code in group)}
    assert asked <= REJECTIONS.keys()
