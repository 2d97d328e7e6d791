"""The engines that the proxy runs, on the bus: each as it goes on, why some ended, the memory, and stopping one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import Model, Probe
from ollama_proxyd.core.reasons import Reason
from tests.desktop.private_bus import PrivateBus
from tests.edges.dbus_api.bus_desk import ROOT, Desk, Program, Refused, until_named
from tests.services.engines.machine import GB, Case
from tests.services.engines.run_by_us import RunByUs, with_pool


@pytest.fixture
def case() -> Case:
    return Case(budget_gb=50)


@pytest.fixture
async def desk(private_bus: PrivateBus, case: Case) -> AsyncIterator[Desk]:
    desk = await Desk.start(
        private_bus.address, RunByUs(case, "big", "small"), around=lambda each: with_pool(each, case)
    )
    yield desk
    await desk.stop()
    await case.pool.close()


async def test_an_engine_is_told_from_its_start_to_its_end(program: Program, desk: Desk, case: Case) -> None:
    assert await program.get("Backends", "Engines") == []
    await case.used("big")
    await program.settle()
    desk.clock.advance(1)
    changes = await program.heard_changes("Backends")
    assert [each["phase"] for change in changes for each in change.get("Engines", ())] == ["ready"]
    (engine,) = await program.get("Backends", "Engines")
    assert (engine["backend"], engine["model"], engine["phase"]) == ("llama", "big", "ready")
    (memory,) = [each for each in await program.get("Backends", "EngineMemory") if each["memory"] == "ram"]
    assert memory["limit_bytes"] == 50 * GB
    assert memory["used_bytes"] > GB
    await program.call("Backends", "StopEngine", "ss", "llama", "big")
    assert case.machine.names == []


async def test_why_one_did_not_load_is_told_until_it_has(program: Program, case: Case) -> None:
    case.machine.dies.add("small")
    with pytest.raises(ProxyError):
        await case.used("small")
    (ended,) = await program.get("Backends", "EnginesEnded")
    assert (ended["model"], ended["reason_code"], ended["times"]) == ("small", "engine_not_loaded", 1)
    assert ended["reason"] == f"small did not load: {ended['reason_details']['detail']}"
    assert "small" not in ended["reason_details"]["detail"], "the cause alone"
    case.machine.dies.clear()
    await case.used("small")
    await asyncio.sleep(0)
    assert await program.get("Backends", "EnginesEnded") == []


async def test_what_is_no_usable_model_is_told(program: Program, desk: Desk) -> None:
    assert await program.get("Backends", "ModelsUnusable") == []
    torn = Reason("model_unusable", path="/m/torn.gguf", detail="it is cut short")
    desk.services.fleet.note_up("llama", Probe((Model("big"),), unusable=(torn,)))
    (told,) = await program.get("Backends", "ModelsUnusable")
    assert (told["backend"], told["reason_details"]["path"]) == ("llama", "/m/torn.gguf")


async def test_what_is_no_engine_of_ours_is_refused_with_those_that_are(program: Program) -> None:
    with pytest.raises(Refused, match=r"the proxy runs no engines of .npu.; it runs those of: llama") as refused:
        await program.call("Backends", "StopEngine", "ss", "npu", "big")
    assert refused.value.name == f"{ROOT}.Error.UnknownBackend"
    with pytest.raises(Refused, match="no engine of llama runs for 'big'"):
        await program.call("Backends", "StopEngine", "ss", "llama", "big")


@pytest.fixture
async def program(private_bus: PrivateBus, desk: Desk) -> AsyncIterator[Program]:
    program = await Program.start(private_bus.address)
    await until_named(program)
    yield program
    await program.stop()
