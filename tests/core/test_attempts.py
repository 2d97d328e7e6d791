"""What follows from a failed attempt: for the request, and for the backend."""

import pytest

from ollama_proxyd.core.attempts import DEADLINE_EXCEEDED, Doubt, Step, Trip, after, doubt
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError

RETRYABLE = (ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT)
FIRST = Trip(attempts=1, retries=1)


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_what_another_backend_may_do_better_is_tried_again(kind: ErrorKind) -> None:
    step = Step.TRY_NEXT if kind in RETRYABLE else Step.GIVE_UP
    assert after(FIRST, ProxyError(kind, "")) is step


@pytest.mark.parametrize("kind", RETRYABLE)
@pytest.mark.parametrize("trip", [Trip(2, 1), Trip(1, 0)])
def test_a_trip_that_is_over_is_given_up(trip: Trip, kind: ErrorKind) -> None:
    assert after(trip, ProxyError(kind, "")) is Step.GIVE_UP


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
