"""The breakers of a backend: each phase, and how the policy heeds them."""

from dataclasses import replace

import pytest

from ollama_proxyd.core import breaker
from ollama_proxyd.core.breaker import LACKS, LONGEST_NAMED_S, MOST, Breaker, Breakers, Failure, Phase
from ollama_proxyd.core.engine_program import SLOTS
from ollama_proxyd.core.failings import what_fails
from ollama_proxyd.core.faults import Fault, Work
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.requests import Operation
from tests.core.reference_profile import REFERENCE, ask, codes, order

NPU, IGPU, NVIDIA, CPU = REFERENCE
TINY = Work("tiny:latest")
FAILURES = [fault for fault in Fault if fault not in {*LACKS, Fault.NO_FEATURE, Fault.BUSY, Fault.RATE_LIMIT}]
MIDDLE = 0.5
"""The jitter that leaves a pause as it is."""


def after_failures(
    fault: Fault, times: int = 10, work: Work = TINY, now_s: float = 0.0, was: Breakers = ()
) -> Breakers:
    for _ in range(times):
        was = breaker.failed(was, Failure(fault, work), now_s, MIDDLE)
    return was


def opened(fault: Fault, work: Work = TINY) -> Breaker:
    (found,) = after_failures(fault, work=work)
    assert found.phase is Phase.OPEN
    return found


def with_breaker(view: BackendView, *breakers: Breaker) -> BackendView:
    return replace(view, breakers=breakers)


@pytest.mark.parametrize("fault", Fault)
def test_every_failure_has_words_whether_it_opens_a_breaker_or_not(fault: Fault) -> None:
    assert str(what_fails(Breaker(fault, TINY)))


@pytest.mark.parametrize("fault", FAILURES)
def test_what_fails_with_one_model_alone_is_told_with_its_name(fault: Fault) -> None:
    found = opened(fault)
    assert ("'tiny:latest'" in str(what_fails(found))) is not found.keeps_out(Work("another"), 0.0)


def test_a_success_that_is_no_answer_is_no_error_of_status_200() -> None:
    failed = Failure(Fault.SERVER_ERROR, TINY, status=200)
    (found,) = breaker.failed((), failed, 0.0, MIDDLE)
    assert "status" not in str(what_fails(found))
    assert "status 503" in str(what_fails(replace(found, status=503)))


@pytest.mark.parametrize("fault", FAILURES)
def test_every_failure_opens_it_after_a_few_and_a_success_closes_it(fault: Fault) -> None:
    most = 2 * SLOTS if fault is Fault.PROCESS_ENDED else 3
    assert next(times for times in range(1, 9) if after_failures(fault, times)[0].phase is Phase.OPEN) <= most
    assert breaker.whole(after_failures(fault), TINY, 0.0) == ()
    assert breaker.whole(after_failures(fault, 1), TINY, 0.0) == ()


def test_the_end_of_one_process_with_all_its_answers_closes_nothing_and_of_two_only_its_model() -> None:
    (once,) = after_failures(Fault.PROCESS_ENDED, SLOTS)
    assert once.phase is Phase.CLOSED
    (twice,) = after_failures(Fault.PROCESS_ENDED, 2 * SLOTS)
    assert twice.keeps_out(TINY, 0.0)
    assert not twice.keeps_out(Work("another"), 0.0)


@pytest.mark.parametrize("fault", FAILURES)
def test_after_its_pause_one_request_tries_and_the_others_stay_out(fault: Fault) -> None:
    open_one = opened(fault)
    assert open_one.keeps_out(TINY, open_one.retry_at_s - 0.1)
    assert not open_one.keeps_out(TINY, open_one.retry_at_s)
    (half_open,) = breaker.tried((open_one,), TINY)
    assert half_open.phase is Phase.HALF_OPEN
    assert half_open.keeps_out(TINY, open_one.retry_at_s + 1000)


def test_each_failed_try_makes_the_pause_longer_up_to_a_bound() -> None:
    pauses, was, now_s = [], after_failures(Fault.SERVER_ERROR), 0.0
    for _ in range(12):
        pauses.append(was[0].retry_at_s - now_s)
        now_s = was[0].retry_at_s
        was = breaker.failed(breaker.tried(was, TINY), Failure(Fault.SERVER_ERROR, TINY), now_s, MIDDLE)
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[-1] == pauses[-2] <= 300


def test_the_jitter_moves_the_pause_by_a_fifth_at_most() -> None:
    ends = [breaker.failed((), Failure(Fault.STALLED, TINY), 0.0, jitter)[0].retry_at_s for jitter in (0.0, 0.5, 1.0)]
    assert ends == pytest.approx([0.8 * ends[1], ends[1], 1.2 * ends[1]])


def test_failures_of_attempts_that_began_before_do_not_prolong_a_pause() -> None:
    first = opened(Fault.RESET)
    (later,) = breaker.failed((first,), Failure(Fault.RESET, TINY), first.retry_at_s - 0.1, MIDDLE)
    assert (later.retry_at_s, later.pause_s) == (first.retry_at_s, first.pause_s)


def test_first_words_end_the_waiting_and_the_next_failure_opens_it_at_once_for_longer() -> None:
    first = opened(Fault.SERVER_ERROR)
    (proven,) = breaker.begun(breaker.tried((first,), TINY), TINY)
    assert not proven.keeps_out(TINY, 0.0)
    (again,) = breaker.failed((proven,), Failure(Fault.SERVER_ERROR, TINY), 50.0, MIDDLE)
    assert again.retry_at_s - 50.0 > first.retry_at_s


def test_first_words_prove_nothing_where_it_broke_off_after_them() -> None:
    late = Failure(Fault.RESET, TINY, is_late=True)
    open_one = breaker.failed(breaker.failed((), late, 0.0, MIDDLE), late, 0.0, MIDDLE)
    half_open = breaker.tried(open_one, TINY)
    assert breaker.begun(half_open, TINY) == half_open


def test_a_try_that_says_nothing_lets_the_next_request_try() -> None:
    half_open = breaker.tried((opened(Fault.STALLED),), TINY)
    (again,) = breaker.left(half_open, TINY)
    assert again.phase is Phase.OPEN
    assert not again.keeps_out(TINY, again.retry_at_s)


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.OUT_OF_MEMORY, Fault.MODEL_GONE, Fault.NOT_LOADED])
def test_what_one_model_does_wrong_keeps_no_other_out(fault: Fault) -> None:
    assert not opened(fault).keeps_out(Work("other"), 0.0)
    assert breaker.whole((opened(fault),), Work("other"), 0.0) == (opened(fault),)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.RESET, Fault.STALLED, Fault.DEVICE_LOST, Fault.KEY_REJECTED])
def test_what_is_wrong_with_the_backend_concerns_every_model(fault: Fault) -> None:
    assert opened(fault).keeps_out(Work("other"), 0.0)


@pytest.mark.parametrize(
    ("fault", "failed", "passes"),
    [
        (Fault.CONTEXT_TOO_SMALL, Work("m", prompt_tokens=9000), Work("m", prompt_tokens=8999)),
        (Fault.NO_TOOLS, Work("m", needs_tools=True), Work("m")),
        (Fault.NO_VISION, Work("m", needs_vision=True), Work("m")),
        (Fault.NO_OPERATION, Work("m", Operation.EMBEDDING), Work("m", Operation.CHAT)),
    ],
)
def test_a_lack_keeps_out_only_what_needs_it(fault: Fault, failed: Work, passes: Work) -> None:
    lacking = opened(fault, failed)
    assert lacking.keeps_out(failed, 0.0)
    assert not lacking.keeps_out(passes, 0.0)
    assert not lacking.keeps_out(replace(failed, model="other"), 0.0)
    assert breaker.whole((lacking,), passes, 0.0) == (lacking,)


def test_the_shortest_prompt_that_was_too_long_is_the_bound() -> None:
    was = after_failures(Fault.CONTEXT_TOO_SMALL, 1, Work("m", prompt_tokens=9000))
    was = after_failures(Fault.CONTEXT_TOO_SMALL, 1, Work("m", prompt_tokens=5000), was=was)
    was = after_failures(Fault.CONTEXT_TOO_SMALL, 1, Work("m", prompt_tokens=7000), was=was)
    assert [each.work.prompt_tokens for each in was] == [5000]


def test_a_busy_backend_is_left_alone_for_as_long_as_it_asks_within_a_bound() -> None:
    for asked_s, waits_s in ((7.0, 7.0), (1e6, LONGEST_NAMED_S)):
        (busy,) = breaker.failed((), Failure(Fault.BUSY, TINY, patience_s=asked_s), 0.0, MIDDLE)
        assert busy.retry_at_s == waits_s
    assert breaker.tried((busy,), TINY) == (busy,)
    assert ask((with_breaker(NPU, busy),)).ranked == (), "not even where nothing else can serve"
    assert order(ask((with_breaker(NPU, busy),), now_s=busy.retry_at_s)) == ["npu"]


def test_a_pause_that_was_named_is_only_prolonged() -> None:
    busy: Breakers = ()
    for now_s, asked_s, until_s in ((0.0, 30.0, 30.0), (1.0, 9.0, 30.0), (2.0, 90.0, 92.0), (3.0, None, 92.0)):
        busy = breaker.failed(busy, Failure(Fault.BUSY, TINY, patience_s=asked_s), now_s, MIDDLE)
        assert busy[0].retry_at_s == until_s
        assert breaker.whole(busy, TINY, now_s) == busy, "an answer that was under way does not end it"
    assert breaker.whole(busy, TINY, 92.0) == ()


def test_the_breakers_of_one_backend_are_bounded() -> None:
    was: Breakers = ()
    for number in range(3 * MOST):
        was = after_failures(Fault.MODEL_GONE, 1, Work(f"model{number}"), was=was)
    assert len(was) == MOST


def test_a_backend_that_fails_is_not_told_to_be_up_and_one_model_that_fails_makes_it_worse() -> None:
    silent = with_breaker(NPU, opened(Fault.STALLED))
    assert (silent.told_health, silent.can_serve) == ("failing", False)
    assert str(silent.reason) == "it was silent for too long, 10 times in a row"
    retry_at_s = silent.breakers[0].retry_at_s
    assert str(silent.reason_at(retry_at_s - 3)).endswith("; tried again in 3 s"), "it counts down"
    assert "tried again" not in str(silent.reason_at(retry_at_s + 1))
    assert with_breaker(NPU, opened(Fault.SERVER_ERROR)).told_health == "failing", "it has no other model"
    two = replace(NPU, models=(*NPU.models, Model("other")))
    broken = with_breaker(two, opened(Fault.SERVER_ERROR))
    assert (broken.told_health, broken.can_serve) == ("up", True)
    assert "tried again in" in str(broken.reason_at(0.0))
    assert with_breaker(NPU, opened(Fault.BUSY), opened(Fault.NO_TOOLS, Work("m", needs_tools=True))).reason is None


def test_a_failing_backend_is_left_out_while_another_can_serve() -> None:
    assert order(ask())[0] == "igpu"
    decision = ask((NPU, with_breaker(IGPU, opened(Fault.SERVER_ERROR)), NVIDIA, CPU))
    assert set(order(decision)) == {"npu", "nvidia", "cpu"}
    assert codes(decision)["igpu"] == ["set_aside"]


def test_a_failing_backend_serves_again_when_its_pause_is_over() -> None:
    failing = opened(Fault.STALLED)
    fleet = (NPU, with_breaker(IGPU, failing))
    assert order(ask(fleet, now_s=failing.retry_at_s))[0] == "igpu"


def test_where_all_fail_the_nearest_to_its_next_try_is_tried_rather_than_none() -> None:
    soon, late = opened(Fault.SERVER_ERROR), opened(Fault.DEVICE_LOST)
    decision = ask((with_breaker(NPU, late), with_breaker(IGPU, late), with_breaker(NVIDIA, soon)))
    assert order(decision)[0] == "nvidia"
    assert "although nvidia is left alone for" in str(decision.reason)


def test_while_one_request_tries_no_other_does() -> None:
    decision = ask((with_breaker(NPU, *breaker.tried((opened(Fault.STALLED),), TINY)),))
    assert decision.ranked == ()
    assert codes(decision) == {"npu": ["being_tried"]}
    assert ask((with_breaker(NPU, opened(Fault.STALLED)),), spares_failing=True).ranked == ()
