"""What follows from a failed attempt: for the request, and for the backend."""

import pytest

from ollama_proxyd.core.attempts import DEADLINE_EXCEEDED, Doubt, doubt, is_retried
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_what_another_backend_may_do_better_is_tried_again(kind: ErrorKind) -> None:
    assert is_retried(ProxyError(kind, "")) is (kind in {ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_TIMEOUT})


def test_no_other_backend_has_more_time_than_the_client_gave() -> None:
    assert not is_retried(ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "", code=DEADLINE_EXCEEDED))


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
