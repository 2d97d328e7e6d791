"""Two models that do not fit into memory together do not evict each other at each request."""

import asyncio
from typing import Any

import pytest

from ollama_proxyd.core.events import Accepted, Delta, Finished
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.requests import Request
from ollama_proxyd.services.settings import QueueSettings
from tests.fakes import FakeBackend, pass_by, services_of, spec_of
from tests.services.test_admission import Clients
from tests.services.test_gateway import request

LOAD_S, ANSWER_S, THINK_S = 4.0, 1.0, 0.2


class Memory(FakeBackend):
    """An engine with room for so many models, which loads what it is asked for."""

    def __init__(self, room: int = 1) -> None:
        super().__init__(spec_of("cpu", slots=1), models=("a:latest", "b:latest", "c:latest"), loaded=())
        self.room = room
        self.loads: list[str] = []
        self.asked_at: dict[str, float] = {}

    async def answer(self, asked: Request, model: str) -> Any:
        self.requests.append((asked, model))
        names = [each.name for each in self.loaded or ()]
        if model not in names:
            self.loads.append(model)
            await asyncio.sleep(LOAD_S)
        kept = [name for name in names if name != model]
        self.loaded = tuple(map(LoadedModel, [*kept, model][-self.room :]))
        yield Accepted()
        await asyncio.sleep(ANSWER_S)
        yield Delta(text="Hello")
        yield Finished()


async def made(engine: Memory, **queue: Any) -> Clients:
    clients = Clients(await services_of(engine, queue=QueueSettings(**queue)))
    clients.tasks["health"] = asyncio.create_task(
        clients.services.health.watch(clients.services.gateway._deps.activity)
    )
    return clients


async def ask_in_turn(clients: Clients, model: str, times: int) -> float:
    """One client after another request; the longest that it waited for an answer."""
    longest_s = 0.0
    now_s = asyncio.get_running_loop().time
    for each in range(times):
        begun_s = now_s()
        await clients.follow(request(model, request_id=f"{model}{each}"))
        longest_s = max(longest_s, now_s() - begun_s)
        await asyncio.sleep(THINK_S)
    return longest_s


async def alternate(engine: Memory, **queue: Any) -> float:
    """Two clients, each with its own model, ask twenty times; the longest wait for an answer."""
    clients = await made(engine, **queue)
    try:
        return max(await asyncio.gather(ask_in_turn(clients, "a", 20), ask_in_turn(clients, "b", 20)))
    finally:
        clients.tasks["health"].cancel()


async def test_two_clients_with_a_model_each_do_not_evict_each_others_at_each_request() -> None:
    before, after = Memory(), Memory()
    await alternate(before, max_turn_s=0)
    longest_s = await alternate(after, max_turn_s=10)
    assert len(before.loads) >= 39
    assert len(after.loads) <= len(before.loads) / 4
    assert longest_s <= 10 + 2 * (LOAD_S + ANSWER_S) + ANSWER_S + 0.5, "beside the requests under way it waits one turn"


async def test_a_model_that_fits_beside_the_other_waits_for_nothing() -> None:
    engine = Memory(room=2)
    longest_s = await alternate(engine)
    assert len(engine.loads) == 2
    assert longest_s <= 2 * (LOAD_S + ANSWER_S) + 2


async def test_a_crowd_for_two_models_goes_in_groups() -> None:
    engine = Memory()
    clients = await made(engine, max_turn_s=10)
    for each in range(20):
        await clients.ask(f"a{each}", model="a")
        await clients.ask(f"b{each}", model="b")
    await asyncio.gather(*(task for name, task in clients.tasks.items() if name != "health"))
    clients.tasks["health"].cancel()
    assert len(engine.loads) <= 8


@pytest.mark.parametrize(
    ("hint", "is_passed"),
    [({}, True), ({"latency_critical": True}, False), ({"priority": 2}, False), ({"max_latency_ms": 10**9}, False)],
)
async def test_one_in_a_hurry_or_more_urgent_is_not_passed(hint: dict[str, Any], is_passed: bool) -> None:
    engine = Memory()
    clients = await made(engine)
    for name in ("a", "b", "a"):
        await ask_in_turn(clients, name, 1)
        await pass_by(2)  # a health check sees what is in memory
    await clients.ask("first", model="a")
    await clients.ask("other", model="b", **hint)
    await clients.ask("last", model="a")
    await asyncio.gather(*(task for name, task in clients.tasks.items() if name != "health"))
    clients.tasks["health"].cancel()
    order = [asked.hints.request_id for asked, _ in engine.requests]
    assert (order.index("other") > order.index("last")) is is_passed


async def test_nothing_is_held_back_where_an_engine_does_not_say_what_is_in_memory() -> None:
    engine = Memory()
    engine.loaded = None
    clients = Clients(await services_of(engine))
    for name in ("a0", "b0", "a1", "b1"):
        await clients.ask(name, model=name[0])
        await pass_by(0.01)
    await asyncio.gather(*clients.tasks.values())
    assert [asked.hints.request_id for asked, _ in engine.requests] == ["a0", "b0", "a1", "b1"]
