"""Work in the background waits for the charger, and holds no place meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import Maybe, Reading, SystemState, Unavailable
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.services.settings import QueueSettings
from tests.fakes import FakeBackend, pass_by, services_of, settle
from tests.services.test_admission import Clients, Engine
from tests.services.test_gateway import request

AC = {"defer": "ac"}
HALF = Reading(50.0, 0.0)


def machine(*, on_battery: bool, percent: Maybe[float] = HALF) -> SystemState:
    return SystemState(on_battery=Reading(on_battery, 0.0), battery_percent=percent)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients(await services_of(FakeBackend("npu"), queue=QueueSettings(max_length=2)))
    made.services.system.set(machine(on_battery=True))
    yield made
    for task in made.tasks.values():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def asked(clients: Clients) -> int:
    backend = clients.services.fleet.backend("npu")
    assert isinstance(backend, FakeBackend)
    return len(backend.requests)


async def first_of(clients: Clients, **hints: Any) -> Routed:
    events = clients.services.gateway.answer(request(**hints))
    first = await anext(events)
    assert isinstance(first, Routed)
    await events.aclose()
    return first


async def test_it_waits_until_the_charger_comes(clients: Clients) -> None:
    waiting = asyncio.create_task(first_of(clients, **AC))
    await pass_by(1000)
    assert asked(clients) == 0
    assert clients.services.gateway.deferral.waiting.value == 1
    clients.services.system.set(machine(on_battery=False))
    first = await waiting
    assert first.deferred_s == pytest.approx(1000)
    assert first.queue_wait_s == 0
    assert str(first.decision.reason).endswith("; it waited 1000 s for the charger")
    assert clients.services.gateway.deferral.waiting.value == 0


@pytest.mark.parametrize(("hints", "waits_s"), [({}, 3600), ({"defer_max_wait_seconds": 90.0}, 90)])
async def test_the_wait_has_an_end(clients: Clients, hints: dict[str, Any], waits_s: float) -> None:
    first = await first_of(clients, **AC, **hints)
    assert first.deferred_s == pytest.approx(waits_s)
    assert str(first.decision.reason).endswith(f"it waited {waits_s} s for the charger, which did not come")


async def test_it_leaves_half_the_time_to_its_deadline_for_the_answer(clients: Clients) -> None:
    soon_ms = int(clients.services.gateway._deps.clock.unix() * 1000) + 200_000
    assert (await first_of(clients, **AC, deadline_ms=soon_ms)).deferred_s == pytest.approx(100)


async def test_a_client_that_leaves_waits_no_longer(clients: Clients) -> None:
    await clients.ask("a", **AC)
    await clients.leave("a")
    assert clients.services.gateway.deferral.waiting.value == 0
    assert clients.services.gateway.in_flight == 0
    (outcome,) = clients.services.ledger.recent()
    assert outcome.cancelled


@pytest.mark.parametrize(
    ("system", "why"),
    [
        (machine(on_battery=False), "the machine is on its charger"),
        (machine(on_battery=False, percent=Unavailable.because("no_battery")), "the machine runs on no battery"),
        (SystemState(), "nothing tells whether the machine runs on its battery"),
    ],
    ids=["charger", "no battery", "unknown"],
)
async def test_where_there_is_no_battery_in_use_it_goes_at_once_and_says_why(
    clients: Clients, system: SystemState, why: str
) -> None:
    clients.services.system.set(system)
    first = await first_of(clients, **AC)
    assert first.deferred_s == pytest.approx(0)
    assert why in str(first.decision.reason)


async def test_it_holds_no_place_before_others_and_the_daemon_idles_meanwhile(clients: Clients) -> None:
    await clients.ask("a", **AC)
    activity = clients.services.gateway._deps.activity
    assert (activity.in_flight, activity.is_busy.value) == (0, False)
    assert clients.services.admission.status().waiting == 0
    await clients.ask("b")
    assert asked(clients) == 1


async def test_when_its_wait_is_over_it_stands_behind_those_who_came_before_that() -> None:
    engine = Engine("npu", slots=1)
    clients = Clients(await services_of(engine))
    clients.services.system.set(machine(on_battery=True))
    await clients.ask("deferred", **AC)
    await pass_by(50)
    await clients.ask("first")
    await clients.ask("second")
    await pass_by(1)
    clients.services.system.set(machine(on_battery=False))
    await settle()
    for _ in range(3):
        engine.finish()
        await settle()
    assert engine.served == ["first", "second", "deferred"]


async def test_no_more_wait_than_the_queue_takes(clients: Clients) -> None:
    for name in "ab":
        await clients.ask(name, **AC)
    with pytest.raises(ProxyError) as refused:
        await first_of(clients, **AC)
    assert (refused.value.kind, refused.value.code) == (ErrorKind.OVERLOADED, "deferred_full")


async def test_who_waits_when_the_proxy_stops_is_told_so(clients: Clients) -> None:
    await clients.ask("a", **AC)
    clients.services.gateway.deferral.refuse_all("the proxy stops")
    await settle()
    assert clients.error("a").kind is ErrorKind.UNAVAILABLE


async def test_explain_says_whether_it_would_wait(clients: Clients) -> None:
    gateway, query = clients.services.gateway, Query("tiny", hints=Hints(defer="ac"))
    assert "first it waits for the charger, for 3600 s at most" in str(gateway.explain(query).reason)
    there = gateway.explain(query, system=machine(on_battery=False))
    assert "the machine is on its charger" in str(there.reason)
