"""The loop does not wait while the rest of the answer to a long request is written."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Resumed, Usage
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.migration import LEAST_STAY_S
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.core.spoken import Resume, Spoken
from ollama_proxyd.core.text import LARGE_BYTES
from tests.fakes import ASKED, RESUME, FakeBackend, pass_by, services_of

BROKEN = ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend broke")


class Watched:
    """A request of some length, and which steps of writing its rest kept the loop waiting."""

    def __init__(self, size_bytes: int) -> None:
        self.on_loop: set[str] = set()
        self._gate: threading.Event | None = None
        self.is_held = threading.Event()
        self.asked = replace(ASKED, body=b" " * size_bytes, resume=Resume(self._request, self._content))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the next rest wait until the end."""
        gate = self._gate = threading.Event()
        yield
        gate.set()

    def note(self, step: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self.on_loop.add(step)

    def _request(self, request: Request, spoken: Spoken) -> Request:
        self.note("request")
        rest: Request = RESUME.request(request, spoken)
        return rest

    def _content(self, request: Request) -> Any:
        self.note("content")
        if (gate := self._gate) is not None:
            self._gate = None
            self.is_held.set()
            gate.wait(10)
        return RESUME.content(request)


class Writing(FakeBackend):
    """A backend that tells when it writes a request to see whether it can go on."""

    watched: Watched
    checks = 0

    def can_resume(self, request: Request) -> bool:
        self.checks += 1
        self.watched.note("engine")
        return super().can_resume(request)


def backends(watched: Watched, *first: Any) -> tuple[Writing, Writing]:
    found = (Writing("nvidia", *first), Writing("npu", Accepted(), Delta(text=" world"), Finished(usage=Usage(5, 1))))
    for each in found:
        each.watched = watched
    return found


SIZES = pytest.mark.parametrize(
    ("size_bytes", "on_loop"), [(LARGE_BYTES - 1, {"content", "request", "engine"}), (LARGE_BYTES, set())]
)


@SIZES
async def test_an_answer_that_breaks_goes_on(size_bytes: int, on_loop: set[str]) -> None:
    watched = Watched(size_bytes)
    first, other = backends(watched, Accepted(), Delta(text="Hello"), BROKEN)
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    async with aclosing(services.gateway.answer(watched.asked)) as events:
        heard = [event async for event in events]
    assert heard[2:4] == [Resumed(), Delta(text=" world")]
    assert (watched.on_loop, other.checks) == (on_loop, 1)


@SIZES
async def test_an_answer_moves(size_bytes: int, on_loop: set[str]) -> None:
    watched, go_on = Watched(size_bytes), asyncio.Event()
    first, other = backends(
        watched, Accepted(), Delta(text="Hel"), go_on, Delta(text="lo"), Delta(text="!"), Finished(usage=Usage(3, 3))
    )
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    heard: list[Routed | Event] = []
    async with aclosing(services.gateway.answer(watched.asked)) as events:
        heard += [await anext(events), await anext(events)]
        await pass_by(LEAST_STAY_S)
        services.governor.select(Mode.EFFICIENCY)
        await services.gateway.migrator.look()
        go_on.set()
        heard += [event async for event in events]
    assert heard[2:] == [Delta(text="lo"), Resumed(), Delta(text=" world"), heard[-1]]
    assert watched.on_loop == on_loop


async def test_an_answer_that_goes_on_elsewhere_while_it_is_looked_at_stays_there() -> None:
    watched, breaks, ends = Watched(LARGE_BYTES), asyncio.Event(), asyncio.Event()
    first, other = backends(watched, Accepted(), Delta(text="Hello"), breaks, BROKEN)
    other.script = (Accepted(), Delta(text=" world"), ends, Delta(text="!"), Finished(usage=Usage(6, 2)))
    services = await services_of(first, other, mode=Mode.PERFORMANCE)
    async with aclosing(services.gateway.answer(watched.asked)) as events:
        heard = [await anext(events), await anext(events)]
        await pass_by(LEAST_STAY_S)
        services.governor.select(Mode.EFFICIENCY)
        with watched.held():
            looking = asyncio.create_task(services.gateway.migrator.look())
            await asyncio.to_thread(watched.is_held.wait, 10)
            breaks.set()
            heard += [await anext(events), await anext(events)]
        await looking
        ends.set()
        heard += [event async for event in events]
    assert heard[2:5] == [Resumed(), Delta(text=" world"), Delta(text="!")]
    assert services.ledger.recent()[-1].resumed == ("reset",)
