"""What a client is told when nothing can serve its request."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.failings import why_down
from ollama_proxyd.core.fleet import BackendView, FleetView, Health, Model, ModelRules
from ollama_proxyd.core.model_names import Synonyms
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeSetting
from ollama_proxyd.core.policy.obstacles import OBSTACLES, Obstacle
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.refusal import refusal
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.sentences import REJECTIONS
from ollama_proxyd.dialects.framing.statuses import STATUSES
from tests.core.reference_profile import device, machine
from tests.fakes import spec_of
from tests.reasons import because

BALANCED = ModeSetting(Mode.BALANCED, Mode.BALANCED, because("chosen"), DEFAULT_TABLE[Mode.BALANCED])
TINY = Model("tiny:latest", capabilities=frozenset({"completion"}))


def view(backend_id: str, *models: Model, health: Health = Health.UP) -> BackendView:
    reason = "" if health is Health.UP else "Connection refused"
    return BackendView(spec_of(backend_id), health=health, health_reason=because(reason), models=models or (TINY,))


def refused(
    query: Query, *fleet: BackendView, mode: Mode = Mode.BALANCED, system: SystemState = UNKNOWN_SYSTEM
) -> ProxyError:
    setting = ModeSetting(mode, mode, because("chosen"), DEFAULT_TABLE[mode])
    decision = rank(query, fleet, system, setting)
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


def test_what_there_is_instead_is_what_the_lists_of_models_have() -> None:
    """Models that a backend may not serve are none, and one with an alias goes by that."""
    held = view("npu", Model("secret"), Model("tiny"))
    held = replace(held, spec=replace(held.spec, rules=ModelRules(excluded=("secret",))))
    decision = rank(Query("nope"), (held,), UNKNOWN_SYSTEM, BALANCED)
    error = refusal(Query("nope"), decision, (held,), 15.0, Synonyms({"nick": ("tiny",)}))
    assert error.message == "model 'nope' not found; available: nick"


def test_a_rejected_key_does_not_come_back_by_waiting() -> None:
    refused_us = ProxyError(ErrorKind.UPSTREAM_FAILED, "backend cloud at https://x refused our credentials", status=401)
    down = replace(view("cloud", health=Health.DOWN), models=(), health_reason=why_down("cloud", refused_us))
    error = refused(Query("gpt-4o"), view("npu"), down)
    assert (error.kind, error.status, error.retry_after_s) == (ErrorKind.UPSTREAM_FAILED, 401, None)
    assert "cloud is down: its key is rejected" in error.message
    other = replace(view("other", health=Health.DOWN), models=())
    assert refused(Query("gpt-4o"), down, other).kind is ErrorKind.UNAVAILABLE


def test_a_model_that_backends_name_in_two_ways_is_listed_once_under_the_first_name() -> None:
    error = refused(Query("nope"), view("npu", Model("library/Tiny")), view("igpu", Model("big")), view("cpu"))
    assert error.message.endswith("available: big, library/Tiny")


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


def test_where_nothing_fetches_images_it_is_said_as_ollama_says_it() -> None:
    error = refused(Query("tiny", has_image_urls=True), view("npu"), view("igpu", health=Health.DOWN))
    assert error.kind is ErrorKind.UNSUPPORTED
    assert error.message.startswith("image URLs are not currently supported, please use base64 encoded data instead")
    assert (error.code, error.retry_after_s) == ("image_urls_refused", None)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (Query("tiny", hints=Hints(max_power_watts=1.0)), "max_power_watts"),
        (Query("tiny", hints=Hints(max_latency_ms=1.0)), "max_latency_ms"),
        (Query("tiny", time_left_s=0.1), "deadline_ms"),
        (Query("tiny", hints=Hints(strict_limits=True)), None),
    ],
)
def test_a_limit_that_waiting_does_not_meet_names_its_field_and_no_time_to_come_back(
    asked: Query, param: str | None
) -> None:
    error = refused(asked, view("nvidia"), mode=Mode.EFFICIENCY)
    assert (error.kind, error.param, error.retry_after_s) == (ErrorKind.LIMIT_UNMET, param, None)


def test_a_latency_that_only_the_queue_is_to_blame_for_is_a_matter_of_time() -> None:
    error = refused(Query("tiny", waits_s={"npu": 9.0}, hints=Hints(max_latency_ms=1000.0)), view("npu"))
    assert (error.kind, error.retry_after_s) == (ErrorKind.UNAVAILABLE, 15.0)
    assert "of it in the queue" in error.message


def test_the_latency_that_is_told_counts_the_time_that_was_waited() -> None:
    asked = Query("tiny", waited_s=5.0, waits_s={"npu": 1.0}, hints=Hints(max_latency_ms=2000.0))
    no = refused(asked, view("npu"))
    assert no.kind is ErrorKind.UNAVAILABLE
    told_ms = float(no.message.partition(" about ")[2].partition(" ms")[0])
    assert told_ms > 6000.0
    assert "6000 ms of it in the queue" in no.message


def test_a_device_in_danger_is_a_matter_of_time() -> None:
    hot = machine(device("npu", temperature_c=101.0, critical_c=100.0))
    error = refused(Query("tiny"), view("npu"), system=hot)
    assert (error.kind, error.code, error.retry_after_s) == (ErrorKind.UNAVAILABLE, "critical_heat", 15.0)


def test_a_backend_that_was_switched_off_does_not_come_back_by_waiting() -> None:
    off = view("igpu", Model("big"), health=Health.DISABLED)
    for hints in (Hints(), Hints(target="igpu")):
        error = refused(Query("big", hints=hints), view("npu"), off)
        assert (error.kind, error.retry_after_s) == (ErrorKind.BACKEND_NOT_FOUND, None)
        assert error.message.endswith("switch it on with: ollama-proxyctl backends enable igpu")
        assert error.message.startswith("igpu is disabled")


GONE = replace(view("igpu", Model("big"), health=Health.DISABLED), health_reason=Reason("backend_removed"))


@pytest.mark.parametrize("others", [(), (view("npu"),), (view("npu", Model("big"), health=Health.DOWN),)])
def test_what_is_no_longer_configured_is_as_good_as_gone_while_its_answers_go_on(others: FleetView) -> None:
    error, without = refused(Query("big"), *others, GONE), refused(Query("big"), *others)
    assert (error.kind, error.message, error.code) == (without.kind, without.message, without.code)


def test_nobody_is_advised_to_switch_on_what_is_no_longer_configured() -> None:
    error = refused(Query("big", hints=Hints(target="igpu")), view("npu"), GONE)
    assert error.message == "igpu is disabled: removed from the configuration; its requests under way go on"


def test_a_backend_that_was_never_up_is_said_to_be_down() -> None:
    never = replace(view("cloud", health=Health.DOWN), models=())
    error = refused(Query("gpt-4o"), view("npu"), never)
    assert (error.kind, error.code) == (ErrorKind.UNAVAILABLE, "down")
    assert error.message == "no backend that is up holds 'gpt-4o'; cloud is down: Connection refused"


def test_every_rejection_of_a_new_request_has_one_place_among_the_obstacles() -> None:
    codes = [code for obstacle in OBSTACLES for code in obstacle.codes]
    assert sorted(codes) == sorted(
        REJECTIONS.keys() - {"not_the_target", "mode_wait", "mode_concurrency", "cannot_resume"}
    )


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda each: min(each.codes))
def test_clients_repeat_only_what_waiting_cures_and_a_want_of_memory(obstacle: Obstacle) -> None:
    """HTTP has a status for the latter, 507 (RFC 4918), which clients of modeld know; clients repeat it like others."""
    kind, status = obstacle.kind, STATUSES[obstacle.kind]
    assert (status in {408, 409, 429} or status >= 500) is (
        kind in {ErrorKind.UNAVAILABLE, ErrorKind.OVERLOADED, ErrorKind.NO_ROOM}
    )
