"""Programs with a store of all models: each process is ready once it has loaded its own; one alone has none."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ollama_proxyd.core.engine_files import STORE, ModelFile, of_the_store
from ollama_proxyd.core.engine_instances import Phase
from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.core.errors import NOT_LOADED, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Model
from ollama_proxyd.core.gguf import GgufFacts, Layer
from ollama_proxyd.services.engines.footprints import Footprints
from tests.fakes import MemoryStore, pass_by, settle
from tests.services.engines.machine import GB, Case, engine_spec, file

WORDS = ("run", "{model}", "{name}", "{port}")
PROGRAM = EngineProgram(ProgramKind.OLLAMA, WORDS, start_timeout_s=60)
TOO_LARGE = "backend it at x answered 500: model requires more system memory (9.9 GiB) than is available (7.6 GiB)"


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    case = Case()
    case.spec = engine_spec("ollama", PROGRAM, slots=None)
    yield case
    await case.pool.close()


def phases(case: Case) -> list[Phase]:
    return [each.phase for each in case.pool.instances]


async def test_a_process_is_ready_once_its_model_is_in_memory(case: Case) -> None:
    case.machine.settle_s = 20
    asked = [asyncio.create_task(case.used("m:1b")) for _ in range(20)]
    await pass_by(15)
    assert (case.machine.asked_to_load, phases(case)) == (["m:1b"], [Phase.LOADING])
    assert set(await asyncio.gather(*asked)) == {"0"}
    assert (case.machine.asked_to_load, phases(case)) == (["m:1b"], [Phase.READY])


async def test_how_far_a_load_is_is_told_by_the_memory_of_the_process(case: Case) -> None:
    case.machine.settle_s, case.machine.sizes["m"] = 20, GB // 2
    asked = asyncio.create_task(case.used("m"))
    await pass_by(10)
    (told,) = case.pool.instances
    assert told.loaded_percent == 35
    await asked


async def test_why_a_model_does_not_load_is_told_in_the_programs_words(case: Case) -> None:
    case.machine.refuses_to_load = ProxyError(ErrorKind.UPSTREAM_FAILED, TOO_LARGE, status=500)
    with pytest.raises(ProxyError, match="requires more system memory") as raised:
        await case.used("m")
    assert (raised.value.code, raised.value.status) == (NOT_LOADED, None)
    assert "requires more system memory" in str(next(iter(case.pool.ends)).reason)
    assert case.machine.names == []


async def test_a_process_that_ends_while_it_loads_is_started_again_as_any_other(case: Case) -> None:
    case.machine.settle_s = 20
    asked = asyncio.create_task(case.used("m"))
    await pass_by(10)
    case.machine.started[0].end("its process was ended by SIGKILL")
    assert await asked == "1"


async def test_a_connection_that_breaks_a_moment_before_the_process_ends_is_its_end(case: Case) -> None:
    gone = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused", code=UNREACHABLE)
    case.machine.refuses_to_load = gone
    asked = asyncio.create_task(case.used("m"))
    while not case.machine.asked_to_load:
        await pass_by(0.1)
    case.machine.refuses_to_load = None
    case.machine.started[0].end("its process was ended by SIGKILL")
    assert await asked == "1"


async def test_a_load_that_takes_too_long_is_given_up(case: Case) -> None:
    case.machine.settle_s = 1000
    with pytest.raises(ProxyError, match="was not ready after 60 s"):
        await case.used("m")
    assert case.machine.names == []


async def test_a_process_that_is_taken_over_is_asked_to_load_too(case: Case) -> None:
    await case.used("m")
    later = Case(machine=case.machine)
    case.machine.left = list(case.machine.kept)
    later.spec = case.spec
    later.pool.reconcile({later.spec.id: later.spec})
    await settle()
    await pass_by(5)
    assert await later.used("m") == "0"
    assert case.machine.asked_to_load == ["m", "m"]
    await later.pool.close()


async def test_each_slot_has_the_whole_context_so_that_more_of_them_need_more_memory() -> None:
    sized, footprints = with_layers(32), Footprints(MemoryStore())

    def needs(kind: ProgramKind, slots: int) -> float:
        return footprints.expected(engine_spec(program=EngineProgram(kind), slots=slots), sized)

    of_a_context = 32 * 2 * 8 * 128 * 2 * 8192
    more = needs(ProgramKind.OLLAMA, 4) - needs(ProgramKind.OLLAMA, 1)
    assert more == pytest.approx(3 * of_a_context, rel=0.1)
    assert needs(ProgramKind.LLAMACPP, 4) - needs(ProgramKind.LLAMACPP, 1) < 0.1 * of_a_context


def with_layers(count: int) -> ModelFile:
    layers = (Layer(8, 8, 128, 128),) * count
    return file("m")._replace(facts=GgufFacts("llama", None, GB, 0, {}, None, layers, None, 1024, None, None))


async def test_adapters_and_what_a_model_sees_with_need_memory_too() -> None:
    footprints, spec = Footprints(MemoryStore()), engine_spec(program=EngineProgram(ProgramKind.OLLAMA))
    alone = with_layers(1)
    assert footprints.expected(spec, alone._replace(beside_bytes=GB)) - footprints.expected(spec, alone) == GB


THE_STORE = ModelFile(Model(STORE), "/store", folder="/store")


async def test_a_process_for_the_store_alone_loads_nothing_and_looks_at_no_card(case: Case) -> None:
    card = replace(
        case.spec, hardware=Hardware.NVIDIA, engine=replace(PROGRAM, environment=("CUDA_VISIBLE_DEVICES=0",))
    )
    async with case.pool.use(of_the_store(card), THE_STORE):
        (told,) = case.pool.instances
        assert list(told.needs) == ["ram"]
    assert case.machine.asked_to_load == []
    given = dict(each.split("=", 1) for each in case.machine.started[0].launch.environment)
    assert (given["OLLAMA_MODELS"], given["CUDA_VISIBLE_DEVICES"], given["ROCR_VISIBLE_DEVICES"]) == (
        "/store",
        "-1",
        "-1",
    )


async def test_a_process_for_the_store_is_left_to_no_later_daemon(case: Case) -> None:
    async with case.pool.use(of_the_store(case.spec), THE_STORE):
        case.machine.left = list(case.machine.kept)
        later = Case(machine=case.machine)
        later.pool.reconcile({case.spec.id: of_the_store(case.spec)})
        await pass_by(5)
        assert case.machine.names == []
        await later.pool.close()
