"""A failure has one status, whichever dialect tells it."""

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.statuses import STATUSES, status_of
from ollama_proxyd.dialects.ollama.errors import render_error as ollama
from ollama_proxyd.dialects.openai.errors import render_error as openai

OWN_STATUSES = [None, *range(100, 600)]


def test_every_kind_has_a_status_of_a_failure() -> None:
    assert set(STATUSES) == set(ErrorKind)
    assert all(400 <= status < 600 for status in STATUSES.values())


@pytest.mark.parametrize("kind", ErrorKind)
def test_no_status_of_a_backend_makes_a_failure_look_like_a_success(kind: ErrorKind) -> None:
    assert all(400 <= status_of(ProxyError(kind, "x", status=own)) < 600 for own in OWN_STATUSES)


@pytest.mark.parametrize("kind", ErrorKind)
def test_both_dialects_tell_the_same_status(kind: ErrorKind) -> None:
    for own in OWN_STATUSES:
        error = ProxyError(kind, "x", status=own, detail='{"error":{"message":"m"}}')
        assert ollama(error)[0] == openai(error)[0] == status_of(error)


@pytest.mark.parametrize("own", [400, 404, 405, 409, 413, 422, 501])
def test_a_refusal_that_speaks_of_the_request_keeps_its_status(own: int) -> None:
    assert status_of(ProxyError(ErrorKind.UPSTREAM_REJECTED, "x", status=own)) == own


def test_a_lack_of_credit_does_not_look_like_one_of_patience() -> None:
    assert status_of(ProxyError(ErrorKind.UPSTREAM_REJECTED, "x", status=429)) == 402


@pytest.mark.parametrize(
    ("own", "told"), [(None, 502), (200, 502), (302, 502), (401, 502), (403, 502), (500, 502), (501, 502), (504, 502)]
)
def test_a_failure_of_the_backend_is_a_502(own: int | None, told: int) -> None:
    assert status_of(ProxyError(ErrorKind.UPSTREAM_FAILED, "x", status=own)) == told


@pytest.mark.parametrize("own", [429, 503])
def test_a_backend_that_asks_for_patience_is_passed_on(own: int) -> None:
    assert status_of(ProxyError(ErrorKind.UPSTREAM_FAILED, "x", status=own)) == own


def test_an_overloaded_cloud_is_told_like_a_busy_server() -> None:
    assert status_of(ProxyError(ErrorKind.UPSTREAM_FAILED, "x", status=529)) == 503


def test_only_backends_bring_a_status_of_their_own() -> None:
    assert status_of(ProxyError(ErrorKind.INVALID_REQUEST, "x", status=418)) == 400
