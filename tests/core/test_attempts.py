"""What follows from a failed attempt: for the request, and for the backend."""

import pytest

from ollama_proxyd.core.attempts import Doubt, Step, Trip, after, doubt, is_within_budget, most_useful
from ollama_proxyd.core.errors import DEADLINE_EXCEEDED, UNREACHABLE, ErrorKind, ProxyError

RETRYABLE = (ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT, ErrorKind.NO_ROOM)
FIRST = Trip(attempts=1, retries=1)


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_what_another_backend_may_do_better_is_tried_again(kind: ErrorKind) -> None:
    step = Step.TRY_NEXT if kind in RETRYABLE else Step.GIVE_UP
    assert after(FIRST, ProxyError(kind, "")) is step


@pytest.mark.parametrize("kind", RETRYABLE)
@pytest.mark.parametrize("trip", [Trip(2, 1), Trip(1, 0), Trip(4, 10, within_budget=False)])
def test_a_trip_that_is_over_is_given_up(trip: Trip, kind: ErrorKind) -> None:
    assert after(trip, ProxyError(kind, "")) is Step.GIVE_UP


def test_each_request_may_be_retried_three_times_whatever_the_budget_says() -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "")
    assert after(Trip(3, 10, within_budget=False), failure) is Step.TRY_NEXT
    assert after(Trip(9, 10), failure) is Step.TRY_NEXT


def test_further_retries_are_a_fifth_of_the_recent_requests() -> None:
    assert is_within_budget([])
    assert is_within_budget([3] * 100)
    assert is_within_budget([4] * 19 + [0] * 81)
    assert not is_within_budget([4] * 20 + [0] * 80)


def test_a_client_is_told_what_it_can_change_before_what_passes_and_that_before_what_others_mend() -> None:
    wrong = ProxyError(ErrorKind.UPSTREAM_REJECTED, "", status=400)
    short = ProxyError(ErrorKind.UPSTREAM_REJECTED, "", status=400, detail="exceeds the available context size")
    busy = ProxyError(ErrorKind.UPSTREAM_FAILED, "", status=429)
    gone = ProxyError(ErrorKind.UPSTREAM_REJECTED, "", status=404, detail="model 'x' not found")
    key = ProxyError(ErrorKind.UPSTREAM_FAILED, "", status=401)
    ordered = [wrong, short, busy, gone, key]
    for at, first in enumerate(ordered):
        assert most_useful([*reversed(ordered[at:])]) is first


def test_no_other_backend_has_more_time_than_the_client_gave() -> None:
    late = ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "", code=DEADLINE_EXCEEDED)
    assert after(FIRST, late) is Step.GIVE_UP


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", code=UNREACHABLE), Doubt.DOWN),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, ""), Doubt.CHECK_SOON),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", status=500), Doubt.NONE),
        (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, ""), Doubt.NONE),
        (ProxyError(ErrorKind.UPSTREAM_REJECTED, "", status=400), Doubt.NONE),
    ],
)
def test_a_backend_is_doubted_only_where_it_did_not_answer(error: ProxyError, says: Doubt) -> None:
    assert doubt(error) is says
