"""An engine that is a systemd unit: stopped once nothing is in its memory, started by the next request."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import IN_USE, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.fleet import LoadedModel, Model, Probe
from ollama_proxyd.core.requests import Request
from ollama_proxyd.edges.backends.on_demand import START_S, OnDemand
from tests.fakes import ASKED, FakeBackend, FakeClock, MemoryStore

UNIT = "ollama.service"
TINY = Model("tiny:latest", size_bytes=5, capabilities=frozenset({"completion"}))


class Engine(FakeBackend):
    """Reachable while its unit is active, `slow_s` after its start."""

    def __init__(self, manager: "Manager", *, unloads: bool = True) -> None:
        super().__init__("npu", models=[TINY], loaded=(LoadedModel("tiny:latest"),))
        self.manager, self.can_unload, self.works = manager, unloads, False

    async def is_working(self) -> bool:
        return self.works

    async def probe(self) -> Probe:
        if not self.manager.serves:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, "npu: connection refused", code=UNREACHABLE)
        return await super().probe()

    async def unload(self, model: str) -> None:
        self.loaded = ()

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        assert self.manager.serves
        async for event in super().answer(request, model):
            yield event


class Manager:
    """The user's systemd; a unit serves some time after its start."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.slow_s = clock, 0.0
        self.state, self.since_s = "active", -1e9
        self.jobs: list[str] = []
        self.refuses = False

    @property
    def serves(self) -> bool:
        return self.state == "active" and self.clock.monotonic() - self.since_s >= self.slow_s

    async def start(self, unit: str) -> None:
        self.job("start", unit, "active")

    async def stop(self, unit: str) -> None:
        await asyncio.sleep(0)
        self.job("stop", unit, "inactive")

    async def is_off(self, unit: str) -> bool:
        if self.refuses:
            raise OSError("no session bus")
        return self.state == "inactive"

    def job(self, what: str, unit: str, state: str) -> None:
        if self.refuses or unit != UNIT:
            raise OSError("access denied")
        self.jobs.append(what)
        self.state, self.since_s = state, self.clock.monotonic()


class Case:
    def __init__(self, *, unloads: bool = True) -> None:
        self.clock, self.store = FakeClock(), MemoryStore()
        self.manager = Manager(self.clock)
        self.engine = Engine(self.manager, unloads=unloads)
        self.backend = self.again()

    def again(self) -> OnDemand:
        engine: Any = self.engine
        return OnDemand(engine, UNIT, self.manager, self.clock, self.store)

    async def ask(self) -> list[Event]:
        return [event async for event in self.backend.answer(ASKED, "tiny:latest")]


async def test_with_its_last_model_the_engine_is_stopped_and_serves_on() -> None:
    case = Case()
    on = await case.backend.probe()
    assert (on.is_off, on.start_s) == (False, START_S)
    await case.backend.unload("tiny:latest")
    assert case.manager.jobs == ["stop"]
    off = await case.backend.probe()
    assert (off.is_off, off.loaded, off.models) == (True, (), on.models)


async def test_an_engine_that_holds_another_model_is_left_on() -> None:
    case = Case()
    case.engine.unload = no_op  # type: ignore[method-assign]
    await case.backend.probe()
    await case.backend.unload("tiny:latest")
    assert case.manager.jobs == []


async def no_op(model: str) -> None:
    """Another model is there still."""


async def test_the_next_request_starts_it_and_teaches_how_long_that_takes() -> None:
    case = Case()
    await case.backend.probe()
    await case.backend.unload("tiny:latest")
    case.manager.slow_s = 9.0
    events = await case.ask()
    assert isinstance(events[-1], Finished)
    assert case.manager.jobs == ["stop", "start"]
    assert (await case.backend.probe()).start_s == pytest.approx((START_S + 9.0) / 2, abs=0.2)


async def test_twenty_requests_at_once_start_it_once() -> None:
    case = Case()
    await case.backend.probe()
    await case.backend.unload("tiny:latest")
    case.manager.slow_s = 2.0
    await asyncio.gather(*(case.ask() for _ in range(20)))
    assert case.manager.jobs == ["stop", "start"]


async def test_a_request_that_comes_while_it_is_stopped_starts_it_again() -> None:
    case = Case()
    await case.backend.probe()
    await asyncio.gather(case.backend.unload("tiny:latest"), case.ask())
    assert case.manager.jobs in ([], ["stop", "start"])
    assert case.manager.serves


async def test_it_is_not_stopped_under_a_request() -> None:
    case = Case()
    await case.backend.probe()
    answer = case.backend.answer(ASKED, "tiny:latest")
    await anext(answer)
    await case.backend.unload("tiny:latest")
    assert case.manager.jobs == []
    await answer.aclose()
    await case.backend.unload("tiny:latest")
    assert case.manager.jobs == ["stop"]


async def test_an_engine_that_unloads_nothing_is_stopped_unless_it_works_for_others() -> None:
    case = Case(unloads=False)
    await case.backend.probe()
    case.engine.works = True
    with pytest.raises(ProxyError) as refused:
        await case.backend.unload("tiny:latest")
    assert refused.value.code == IN_USE
    case.engine.works = False
    await case.backend.unload("tiny:latest")
    assert case.manager.jobs == ["stop"]


async def test_models_of_an_engine_that_is_off_are_known_after_a_restart() -> None:
    case = Case()
    await case.backend.probe()
    case.manager.state = "inactive"
    off = await case.again().probe()
    assert (off.is_off, off.models) == (True, (TINY,))


async def test_an_engine_that_was_never_seen_or_that_failed_is_down() -> None:
    case = Case()
    case.manager.state = "inactive"
    with pytest.raises(ProxyError):
        await case.backend.probe()
    case.manager.state = "active"
    await case.backend.probe()
    case.manager.state = "failed"
    with pytest.raises(ProxyError):
        await case.backend.probe()


async def test_a_manager_that_cannot_be_asked_leaves_it_down() -> None:
    case = Case()
    await case.backend.probe()
    case.manager.state, case.manager.refuses = "inactive", True
    with pytest.raises(ProxyError):
        await case.backend.probe()


async def test_a_start_that_is_refused_or_fails_is_told_and_the_next_request_tries_again() -> None:
    case = Case()
    await case.backend.probe()
    await case.backend.unload("tiny:latest")
    case.manager.refuses = True
    with pytest.raises(ProxyError, match=r"ollama\.service cannot be started: access denied"):
        await case.ask()
    case.manager.refuses = False
    assert isinstance((await case.ask())[-1], Finished)


async def test_an_engine_that_ends_at_once_costs_no_more_than_a_moment() -> None:
    case = Case()
    await case.backend.probe()
    await case.backend.unload("tiny:latest")

    async def dies(unit: str) -> None:
        case.manager.job("start", unit, "inactive")

    case.manager.start = dies  # type: ignore[method-assign]
    begun_s = case.clock.monotonic()
    with pytest.raises(ProxyError, match="was started, and its engine does not answer"):
        await case.ask()
    assert case.clock.monotonic() - begun_s < 3.0


async def test_an_odd_memory_of_models_is_none() -> None:
    oddities: list[Any] = ["text", [1], [{}], {"a": 1}, 5]
    for odd in oddities:
        case = Case()
        case.store.put(f"models of {UNIT}", odd)
        case.manager.state = "inactive"
        with pytest.raises(ProxyError):
            await case.again().probe()


def test_a_probe_of_an_engine_without_unit_says_nothing_of_a_start() -> None:
    assert (replace(Probe(())).start_s, Probe(()).is_off) == (None, False)
