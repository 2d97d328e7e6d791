"""How many requests a backend answers at once shows when one more is sent than is known."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.events import Accepted, Delta, Finished
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.core.slots import MISSES, SlotsFrom
from tests.fakes import FakeBackend, pass_by, services_of, settle, spec_of
from tests.services.test_admission import Clients
from tests.services.test_gateway import request

LOOKS_AGAIN_S = 0.3


class Parallel(FakeBackend):
    """An engine that answers so many at once, begins each at once, and ends it when a test says so."""

    def __init__(self, parallel: int, **facts: Any) -> None:
        super().__init__(spec_of("cpu", **facts), models=("tiny:latest", "other:latest"))
        self._turns = asyncio.Semaphore(parallel)
        self.writing: list[asyncio.Event] = []

    async def answer(self, asked: Request, model: str) -> Any:
        self.requests.append((asked, model))
        async with self._turns:
            end = asyncio.Event()
            self.writing.append(end)
            yield Accepted()
            yield Delta(text="Hello")
            await end.wait()
            yield Delta(text=" world")
            yield Finished()

    async def finish(self) -> None:
        """Let the oldest answer end."""
        self.writing.pop(0).set()
        await pass_by(LOOKS_AGAIN_S)


async def made(engine: Parallel) -> Clients:
    return Clients(await services_of(engine))


@pytest.fixture
async def crowd() -> AsyncIterator[list[Clients]]:
    clients: list[Clients] = []
    yield clients
    for task in [task for each in clients for task in each.tasks.values()]:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(clients: Clients, *names: str, **facts: Any) -> None:
    for name in names:
        asked = replace(request(request_id=name), **facts)
        clients.tasks[name] = asyncio.create_task(clients.follow(asked))
        await pass_by(LOOKS_AGAIN_S)


async def test_slots_are_proven_one_by_one_up_to_what_the_engine_has(crowd: list[Clients]) -> None:
    engine = Parallel(3)
    crowd.append(clients := await made(engine))
    await ask(clients, *"abcdef")
    view = clients.services.fleet.view("cpu")
    assert (view.slots, view.slots_from) == (3, SlotsFrom.INFERRED)
    assert len(engine.requests) == 4, "one waits in the engine, as a trial; the others wait here"


async def test_an_engine_with_one_slot_is_tried_a_few_times_and_keeps_one(crowd: list[Clients]) -> None:
    engine = Parallel(1)
    crowd.append(clients := await made(engine))
    await ask(clients, *"abcdefgh")
    for _ in range(MISSES + 2):
        await engine.finish()
    view = clients.services.fleet.view("cpu")
    assert (view.slots, view.slots_from) == (1, SlotsFrom.ASSUMED)
    assert view.in_flight == 1, "it is not tried again"


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ({"slots": 1}, {}),
        ({}, {"operation": Operation.EMBEDDING}),
        ({}, {"model": "other:latest"}),
    ],
    ids=["a number that was configured", "an embedding", "another model, which has a runner of its own"],
)
async def test_what_would_prove_nothing_is_not_sent(
    crowd: list[Clients], spec: dict[str, Any], facts: dict[str, Any]
) -> None:
    engine = Parallel(2, **spec)
    crowd.append(clients := await made(engine))
    await ask(clients, "a")
    await ask(clients, "b", **facts)
    assert len(engine.requests) == 1


async def test_what_was_inferred_is_forgotten_when_the_backend_was_down(crowd: list[Clients]) -> None:
    engine = Parallel(2)
    crowd.append(clients := await made(engine))
    await ask(clients, "a", "b")
    assert clients.services.fleet.view("cpu").slots == 2
    engine.down = ConnectionRefusedError()
    await clients.services.health.check_all()
    engine.down = None
    await clients.services.health.check_all()
    await settle()
    assert clients.services.fleet.view("cpu").slots_from is SlotsFrom.ASSUMED
