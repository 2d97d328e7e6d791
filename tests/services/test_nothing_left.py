"""What a request held is free once it has ended, before the collector looks: its body may be long."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta
from ollama_proxyd.services.attempt import Attempt
from ollama_proxyd.services.delivery import Delivery
from ollama_proxyd.services.request_trace import RequestTrace
from ollama_proxyd.services.settings import QueueSettings
from ollama_proxyd.services.waiting import Waiting
from tests.fakes import FakeBackend, services_of, settle, spec_of, words
from tests.services.test_gateway import answer, begun, request

KINDS = Attempt, Delivery, RequestTrace, Waiting


@contextmanager
def nothing_left() -> Iterator[None]:
    """Nothing is left of the requests within but what somebody holds."""
    gc.collect()
    gc.disable()
    try:
        before = {id(each) for each in gc.get_objects() if isinstance(each, KINDS)}
        yield
        assert not [each for each in gc.get_objects() if isinstance(each, KINDS) and id(each) not in before]
    finally:
        gc.enable()


def fails(kind: ErrorKind = ErrorKind.UPSTREAM_FAILED) -> Callable[[], None]:
    """A step that raises an error of its own each time: an error keeps the frames that it came through."""

    def step() -> None:
        raise ProxyError(kind, "it failed")

    return step


ENDS: dict[str, Sequence[FakeBackend]] = {
    "answered": [FakeBackend("igpu")],
    "answered by another after a failure": [FakeBackend("igpu", fails()), FakeBackend("npu")],
    "failed at each": [FakeBackend("igpu", fails()), FakeBackend("npu", fails())],
    "at fault itself": [FakeBackend("igpu", fails(ErrorKind.INVALID_REQUEST))],
    "gone on with": [FakeBackend("igpu", Accepted(), Delta(text="Hel"), fails()), FakeBackend("npu")],
    "broken": [FakeBackend("igpu", Accepted(), Delta(text="Hel"), fails())],
    "broken at both": [FakeBackend(each, Accepted(), Delta(text="Hel"), fails()) for each in ("igpu", "npu")],
    "nowhere to be sent": [FakeBackend("igpu", models=())],
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_that_has_ended_holds_nothing(end: str) -> None:
    services = await services_of(*ENDS[end])
    with nothing_left():
        with suppress(ProxyError):
            await answer(services, begun())
        await settle()


@pytest.mark.parametrize("end", ["answered", "too late", "refused", "chosen for nothing"])
async def test_a_request_that_has_waited_holds_nothing(end: str) -> None:
    busy, (first, *rest) = asyncio.Event(), words("Hello")
    npu = FakeBackend(spec_of("npu", slots=1), first, busy, *rest)
    services = await services_of(npu, queue=QueueSettings(max_wait_s=0.5 if end == "too late" else 30.0))

    async def is_answered() -> bool:
        with suppress(ProxyError):
            await answer(services, request())
            return True
        return False

    with nothing_left():
        asked = [asyncio.ensure_future(is_answered()) for _ in range(3)]
        await asyncio.sleep(1.0)
        if end == "refused":
            services.admission.refuse_all("it stops")
        elif end == "chosen for nothing":
            services.fleet.set_enabled("npu", enabled=False)
            await asyncio.sleep(1.0)
        busy.set()
        assert await asyncio.gather(*asked) == [True, end == "answered", end == "answered"]
        await settle()
