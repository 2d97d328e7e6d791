"""What sends a long answer elsewhere in the whole chain: the machine's state changes, and all else follows."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.migration import LEAST_STAY_S
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.services.ledger import Outcome
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import ASKED, FakeBackend, pass_by, services_of, settle

LONG = replace(ASKED, max_tokens=2000)


def told(value: Any) -> Reading[Any]:
    return Reading(value, 0.0)


def gpu(hardware: Hardware, temperature_c: float, **more: Any) -> SystemState:
    device = DeviceState("gpu", hardware, "", PowerState.AWAKE, temperature_c=told(temperature_c), **more)
    return replace(MAINS, devices=(device,))


MAINS = SystemState(on_battery=told(value=False), battery_percent=told(95.0))
BATTERY = SystemState(on_battery=told(value=True), battery_percent=told(18.0))


async def answered(way: tuple[str, str], states: tuple[SystemState, SystemState], mode: Mode) -> Outcome:
    """A long answer of the first backend, while the machine's state becomes another and a second one could go on."""
    go_on, end = asyncio.Event(), Finished(usage=Usage(3, 3))
    first = FakeBackend(way[0], Accepted(), Delta(text="Hel"), go_on, Delta(text="lo"), Delta(text="."), end)
    services = await services_of(first, FakeBackend(way[1], Accepted(), Delta(text=" there"), end), mode=mode)
    services.system.set(states[0])
    async with Tasks("test") as tasks:
        services.governor.follow(services.system, tasks)
        services.gateway.migrator.follow(tasks)
        await settle()
        async with aclosing(services.gateway.answer(LONG)) as events:
            await anext(events)
            await anext(events)
            await pass_by(LEAST_STAY_S)
            services.system.set(states[1])
            await settle()
            go_on.set()
            async for _ in events:
                pass
    return services.ledger.recent()[-1]


MOVES = {
    "unplugged": (("nvidia", "npu"), (MAINS, BATTERY), Mode.AUTO, "J less there, moving included"),
    "hot": (("igpu", "nvidia"), (gpu(Hardware.IGPU, 50.0), gpu(Hardware.IGPU, 97.0)), Mode.BALANCED, "J less there"),
    "throttled": (
        ("nvidia", "npu"),
        (gpu(Hardware.NVIDIA, 50.0), gpu(Hardware.NVIDIA, 80.0, throttling=told("thermal"))),
        Mode.PERFORMANCE,
        "thermal",
    ),
    "critical": (
        ("nvidia", "npu"),
        (gpu(Hardware.NVIDIA, 50.0), gpu(Hardware.NVIDIA, 97.0, critical_c=told(95.0))),
        Mode.PERFORMANCE,
        "97 °C",
    ),
    "game": (("nvidia", "npu"), (MAINS, replace(MAINS, games=told(1))), Mode.PERFORMANCE, "game"),
}


@pytest.mark.parametrize("cause", MOVES)
async def test_a_long_answer_moves_and_its_reason_says_why(cause: str) -> None:
    way, states, mode, why = MOVES[cause]
    outcome = await answered(way, states, mode)
    assert (outcome.backend_id, outcome.resumed, outcome.error) == (way[1], ("moved",), None)
    assert why in str(outcome.decision and outcome.decision.reason)


STAYS = {
    "unplugged, in a mode that was chosen": (("nvidia", "npu"), (MAINS, BATTERY), Mode.PERFORMANCE),
    "hot, and the other needs far more time": (
        ("nvidia", "npu"),
        (gpu(Hardware.NVIDIA, 50.0), gpu(Hardware.NVIDIA, 97.0)),
        Mode.PERFORMANCE,
    ),
    "a game, on a backend that needs no GPU": (
        ("npu", "nvidia"),
        (MAINS, replace(MAINS, games=told(1))),
        Mode.EFFICIENCY,
    ),
}


@pytest.mark.parametrize("cause", STAYS)
async def test_a_long_answer_stays_where_moving_costs_more_than_it_saves(cause: str) -> None:
    way, states, mode = STAYS[cause]
    outcome = await answered(way, states, mode)
    assert (outcome.backend_id, outcome.resumed, outcome.error) == (way[0], (), None)
