"""What a daemon left that was killed: one process for a model, none that nobody knows."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ollama_proxyd.core.engine_instances import Phase
from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.fleet import BackendSpec
from tests.fakes import pass_by
from tests.services.engines.machine import Case, engine_spec


class Restart:
    """A daemon that was killed with the models a and b in memory, and the next one, which knows of nothing yet."""

    async def begin(self, budget_gb: float | None = None) -> "Restart":
        self.before = Case(budget_gb)
        await self.before.used("a")
        await self.before.used("b")
        self.machine = self.before.machine
        self.machine.left, self.machine.kept = self.machine.kept, []
        self.after = Case(budget_gb, self.machine)
        return self

    async def look(self, specs: dict[str, BackendSpec] | None = None) -> None:
        self.after.pool.reconcile({"llama": self.after.spec} if specs is None else specs)
        await pass_by(10)

    @property
    def starts(self) -> int:
        return len(self.machine.started)


@pytest.fixture
async def restart() -> AsyncIterator[Restart]:
    case = await Restart().begin()
    yield case
    await case.after.pool.close()


async def test_what_runs_is_taken_over_with_its_port_and_its_key(restart: Restart) -> None:
    launched = {each.name: each.launch for each in restart.machine.started}
    await restart.look()
    assert await restart.after.used("a") == "0"
    assert restart.starts == 2
    for each in restart.after.pool.running("llama"):
        assert (each.address, each.api_key) == (launched[each.file.name].address, launched[each.file.name].api_key)


async def test_requests_that_come_meanwhile_start_no_second_process(restart: Restart) -> None:
    restart.after.pool.reconcile({"llama": restart.after.spec})
    pids = await asyncio.gather(*(restart.after.used(model) for model in "abab"))
    assert pids == ["0", "1", "0", "1"]
    assert restart.starts == 2


async def test_it_is_noted_again_for_the_next_crash(restart: Restart) -> None:
    await restart.look()
    assert sorted(kept.model for kept, _ in restart.machine.kept) == ["a", "b"]


async def test_its_memory_counts_at_once() -> None:
    case = await Restart().begin(budget_gb=3.5)
    await case.look()
    await case.after.used("c")
    assert len(case.machine.names) == 2
    await case.after.pool.close()


@pytest.mark.parametrize(
    "specs",
    [{}, {"llama": engine_spec(program=EngineProgram(command=("run", "{model}", "{name}", "{port}", "-x")))}],
    ids=["its backend is gone", "it would be started otherwise now"],
)
async def test_what_is_not_wanted_any_more_is_ended(restart: Restart, specs: dict[str, BackendSpec]) -> None:
    await restart.look(specs)
    assert restart.machine.names == []


async def test_of_two_for_one_model_one_is_ended(restart: Restart) -> None:
    (first, process), (second, other) = restart.machine.left
    restart.machine.left = [(first, process), (first, other)]
    await restart.look()
    assert [each.runs for each in (process, other)] == [True, False]
    assert second.model == "b"


async def test_one_that_does_not_answer_is_replaced_for_those_who_wait(restart: Restart) -> None:
    for process in restart.machine.started:
        restart.machine.taken.add(process.launch.address.port)
    restart.after.pool.reconcile({"llama": restart.after.spec})
    assert await restart.after.used("a") == "2"
    await pass_by(10)
    assert restart.machine.names == ["a"]
    assert {each.phase for each in restart.after.pool.instances} == {Phase.READY}


async def test_one_that_hangs_is_replaced_soon(restart: Restart) -> None:
    for process in restart.machine.started:
        process.hangs = True
    clock = restart.machine.clock
    begun_s = clock.monotonic()
    restart.after.pool.reconcile({"llama": restart.after.spec})
    assert await restart.after.used("a") == "2"
    assert clock.monotonic() - begun_s < 60


async def test_who_is_stopped_while_it_looks_leaves_the_notes_alone(restart: Restart) -> None:
    kept = restart.machine.left
    restart.machine.kept = kept
    restart.after.pool.reconcile({"llama": restart.after.spec})
    await restart.after.pool.close()
    assert restart.machine.kept is kept
    assert restart.machine.names == ["a", "b"]
