"""Requests whose engine's process ended in the middle: a new process of the same backend answers, once."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.breaker import Phase
from ollama_proxyd.core.errors import ENGINE_ENDED, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from ollama_proxyd.core.spoken import Spoken
from tests.fakes import ASKED, FakeBackend, services_of
from tests.services.test_gateway import answer, outcome, request

ENDED = ProxyError(ErrorKind.UPSTREAM_FAILED, "the engine broke off its answer", code=ENGINE_ENDED)


class Restarting(FakeBackend):
    """Each request follows the next of its scripts."""

    def __init__(self, *scripts: tuple[Any, ...]) -> None:
        super().__init__("own")
        self.scripts = list(scripts)

    def answer(self, request: Any, model: str) -> Any:
        self.script = self.scripts.pop(0)
        return super().answer(request, model)


BROKEN = (Accepted(), Delta(text="Hel"), ENDED)
REST = (Accepted(), Delta(text="lo"), Finished(usage=Usage(4, 1)))


async def test_a_begun_answer_goes_on_with_a_new_process() -> None:
    backend = Restarting(BROKEN, REST)
    services = await services_of(backend)
    heard = await answer(services, ASKED)
    assert [each.text for each in heard if isinstance(each, Delta)] == ["Hel", "lo"]
    assert [each[0].spoken for each in backend.requests] == [None, Spoken("Hel", tokens=1)]
    assert outcome(services).error is None


async def test_a_whole_answer_is_made_anew_by_it() -> None:
    backend = Restarting(BROKEN, REST)
    services = await services_of(backend)
    heard = await answer(services, replace(ASKED, stream=False))
    assert [each.text for each in heard if isinstance(each, Delta)] == ["lo"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_ends_each_process_is_not_sent_for_ever(stream: bool) -> None:
    backend = Restarting(*[BROKEN] * 5)
    services = await services_of(backend)
    with pytest.raises(ProxyError, match="broke off"):
        await answer(services, replace(ASKED, stream=stream))
    assert len(backend.requests) == 2


async def test_a_model_whose_processes_end_over_and_over_is_left_alone_and_no_other_model() -> None:
    backend = Restarting(*[BROKEN] * 8)
    services = await services_of(backend)
    for _ in range(4):
        with pytest.raises(ProxyError):
            await answer(services, replace(ASKED, stream=False))
    (found,) = services.fleet.view("own").breakers
    assert (found.phase, found.model) == (Phase.OPEN, "tiny:latest")


async def test_another_failure_of_the_only_backend_is_told_at_once() -> None:
    backend = Restarting((Accepted(), ENDED.but(code=None)), REST)
    services = await services_of(backend)
    with pytest.raises(ProxyError, match="broke off"):
        await answer(services, request(stream=False))
    assert len(backend.requests) == 1
