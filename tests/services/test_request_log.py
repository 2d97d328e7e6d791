"""A line of log for each request, without a word of what was said."""

import logging
from contextlib import aclosing
from dataclasses import replace

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta
from ollama_proxyd.core.log_wish import LogWish
from ollama_proxyd.core.requests import Api, Chat, Hints, Operation, Request
from ollama_proxyd.services import request_log
from tests.fakes import FakeBackend, services_of


async def line_of(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture, level: int, wish: LogWish | None = None
) -> str:
    services = await services_of(backend)
    services.ledger.outcomes.listen(request_log.note)
    request = Request(
        operation=Operation.CHAT,
        api=Api.OLLAMA,
        endpoint="chat",
        model="tiny",
        stream=True,
        body=b'{"messages": "a secret"}',
        content=lambda: Chat(()),
        hints=Hints(request_id="abc", log=wish),
    )
    with caplog.at_level(level, logger="ollama_proxyd.services.request_log"):
        try:
            async with aclosing(services.gateway.answer(request)) as events:
                [event async for event in events]
        except ProxyError:
            pass
    return caplog.text


async def test_an_answered_request_is_told_for_debugging_with_its_id_backend_and_terms(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = await line_of(FakeBackend("npu"), caplog, logging.DEBUG)
    assert "request abc (chat): answered at npu" in line
    assert "decode_j=" in line
    assert "secret" not in line
    assert "Hello" not in line


@pytest.mark.parametrize(
    ("wish", "is_told", "has_terms"),
    [(None, False, False), (LogWish.INFO, True, False), (LogWish.DEBUG, True, True), (LogWish.ERROR, False, False)],
)
async def test_a_client_may_have_its_own_request_told(
    caplog: pytest.LogCaptureFixture, wish: LogWish | None, is_told: bool, has_terms: bool
) -> None:
    line = await line_of(FakeBackend("npu"), caplog, logging.INFO, wish)
    assert ("answered at npu" in line, "decode_j=" in line) == (is_told, has_terms)
    assert "secret" not in line


@pytest.mark.parametrize(("wish", "is_told"), [(LogWish.OFF, False), (LogWish.ERROR, True)])
async def test_a_client_may_have_its_own_failure_told_or_not(
    caplog: pytest.LogCaptureFixture, wish: LogWish, is_told: bool
) -> None:
    broken = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke"))
    assert ("failed" in await line_of(broken, caplog, logging.INFO, wish)) == is_told


async def test_an_answer_that_went_on_and_one_that_could_not_are_told_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = FakeBackend("npu", Accepted(), Delta(text="Hel"), ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "fell silent"))
    line = await line_of(broken, caplog, logging.WARNING)
    assert "failed (upstream_timeout, cannot go on elsewhere: fields) at npu" in line


async def test_an_answered_request_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert await line_of(FakeBackend("npu"), caplog, logging.INFO) == ""


async def test_a_backend_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    broken = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "broke"))
    assert "failed (upstream_failed) at npu" in await line_of(broken, caplog, logging.WARNING)


async def test_a_failure_has_the_backends_words_that_may_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = ProxyError(ErrorKind.UPSTREAM_FAILED, "a secret", status=500, cause="answered 500: out of memory")
    line = await line_of(FakeBackend("npu", error), caplog, logging.WARNING)
    assert "failed (upstream_failed, status 500: answered 500: out of memory) at npu" in line
    assert "secret" not in line


async def test_the_clients_own_fault_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    picky = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_REJECTED, "no such thing"))
    assert await line_of(picky, caplog, logging.INFO) == ""


def test_a_failed_attempt_is_said_though_another_backend_answered(caplog: pytest.LogCaptureFixture) -> None:
    ended = AttemptEnded("npu", "tiny", Operation.CHAT, "abc", 0.0, 1.0, error=ErrorKind.UPSTREAM_FAILED, status=500)
    with caplog.at_level(logging.INFO):
        request_log.note_attempt(ended)
        request_log.note_attempt(replace(ended, error=None))
    assert caplog.messages == ["request abc failed at npu (upstream_failed, status 500)"]


async def test_a_failure_tells_its_cause_and_not_the_terms_of_the_choice(caplog: pytest.LogCaptureFixture) -> None:
    broken = FakeBackend(
        "npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "a secret", code="backend_unreachable", status=503)
    )
    line = await line_of(broken, caplog, logging.WARNING)
    assert "failed (upstream_failed, backend_unreachable, status 503) at npu" in line
    assert "decode_j=" not in line
    assert "secret" not in line
