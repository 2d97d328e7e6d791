"""Embeddings under way: each counts as long as it takes, which is a moment, and sends none to a dearer device."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.events import Accepted, Embedded, Finished
from ollama_proxyd.core.fleet import LoadedModel
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, PowerState, SystemState
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.services.bundle import Services
from tests.fakes import REFERENCE_PROFILES, FakeBackend, services_of, settle, spec_of
from tests.services.test_gateway import request

EMBEDDING: dict[str, Any] = {"operation": Operation.EMBEDDING, "prompt_tokens": 300}


class Engine(FakeBackend):
    """An engine that embeds when a test says so."""

    def __init__(self, backend_id: str, *, is_loaded: bool) -> None:
        super().__init__(spec_of(backend_id))
        self.loaded = tuple(LoadedModel(each.name) for each in self.models) if is_loaded else ()
        self.go_on = asyncio.Event()

    async def answer(self, asked: Request, model: str) -> Any:
        yield Accepted()
        await self.go_on.wait()
        yield Embedded(((1.0,),))
        yield Finished()


async def busy(loaded: set[str], under_way: dict[str, int]) -> tuple[Services, list[asyncio.Task[None]]]:
    """The reference laptop with its discrete GPU asleep, and so many embeddings sent to some of its devices."""
    services = await services_of(*[Engine(each, is_loaded=each in loaded) for each in REFERENCE_PROFILES])
    asleep = DeviceState("gpu", services.fleet.view("nvidia").spec.hardware, "gpu", PowerState.ASLEEP)
    services.system.set(SystemState(devices=(asleep,)))

    async def send(target: str) -> None:
        async for _ in services.gateway.answer(replace(request(stream=False, target=target), **EMBEDDING)):
            pass

    tasks = [asyncio.create_task(send(target)) for target, count in under_way.items() for _ in range(count)]
    await settle()
    assert not any(task.done() for task in tasks)
    return services, tasks


def next_one(services: Services) -> Decision:
    return services.gateway.explain(Query("tiny", **EMBEDDING))


@pytest.mark.parametrize(
    ("loaded", "under_way"),
    [
        ({"igpu", "npu"}, {"igpu": 1, "npu": 1}),
        ({"igpu", "npu", "cpu"}, {"igpu": 3, "npu": 2, "cpu": 1}),
    ],
)
async def test_the_next_waits_the_moment_that_those_under_way_need(loaded: set[str], under_way: dict[str, int]) -> None:
    services, tasks = await busy(loaded, under_way)
    decision = next_one(services)
    best = decision.ranked[0]
    assert best.backend_id in {"igpu", "npu"}, "not the CPU for 53 J, nor the GPU that would have to wake"
    assert best.terms["queue_wait_s"] <= under_way[best.backend_id] * 0.8
    assert best.energy_j < 10
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
