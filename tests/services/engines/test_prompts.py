"""Prompts of engines that are stopped: what is saved, read back and removed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

import pytest

from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.saved_prompts import NONE_SAVED, SavedPromptSettings, Slot, begins_alike, pays
from tests.dialects.openai.openai_samples import openai_chat
from tests.services.engines.machine import Case, engine_spec, file

ON = SavedPromptSettings(max_gb=1.0)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    case = Case()
    case.pool.starter.prompts.settings = ON
    case.disk.held = [Slot(0, 900, is_busy=False), Slot(1, 0, is_busy=False), Slot(2, 50, is_busy=True)]
    yield case
    await case.pool.close()


def saved(case: Case) -> list[int]:
    """The tokens of each prompt on the disk."""
    return sorted(len(each.tokens) for each in case.disk.files.values())


async def asked(case: Case, tokens: Sequence[int], name: str = "a") -> None:
    """A request of these tokens comes to a model."""
    case.disk.asks = tokens
    request = replace(openai_chat(model=name), prompt_tokens=len(tokens))
    async with case.pool.use(case.spec, file(name)) as running:
        await case.pool.starter.prompts.bring(running, request)


GOES_ON: Final = tuple(range(1000))
"""A request that goes on from all that was saved."""
ANOTHER: Final = tuple(range(5000, 6000))


async def test_what_a_stopped_engine_holds_is_saved_and_read_back_by_the_request_that_goes_on_from_it(
    case: Case,
) -> None:
    await case.used("a")
    assert "LLAMA_ARG_SLOT_SAVE_PATH=/prompts/llama/" in case.machine.started[0].launch.environment
    await case.pool.stop("llama", "a")
    assert saved(case) == [900]
    await asked(case, ANOTHER)
    await asked(case, GOES_ON, "b")
    assert saved(case) == [900], "neither another conversation nor another model needs it"
    await asked(case, GOES_ON)
    assert (saved(case), case.disk.into) == ([], [(1, 900)]), "into the slot that holds least"
    state = case.pool.starter.prompts.state
    assert (state.saved_tokens, state.read_tokens, state.trouble) == (900, 900, None)


async def test_of_several_the_one_is_read_back_that_spares_the_most(case: Case) -> None:
    for tokens in (900, 300, 600):
        await case.used("a")
        case.disk.held = [Slot(0, tokens, is_busy=False)]
        await case.pool.stop("llama", "a")
    await asked(case, tuple(range(700)))
    await asked(case, tuple(range(250)))
    assert (saved(case), case.disk.into) == ([600], [(0, 900), (0, 300)])


async def test_twenty_that_go_on_from_one_have_it_read_back_once(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    await asyncio.gather(*(asked(case, GOES_ON) for _ in range(20)))
    assert case.disk.into == [(1, 900)]


async def test_a_prompt_is_read_back_into_no_slot_at_work(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    case.disk.held = [Slot(0, 0, is_busy=True)]
    await asked(case, GOES_ON)
    assert saved(case) == [900]


async def test_what_is_read_faster_anew_stays_on_the_disk(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    case.pool.starter.prompts.read_j = lambda _spec, _file, _tokens: 0.0
    await asked(case, GOES_ON)
    assert saved(case) == [900]


def test_prompts_are_compared_from_their_beginning() -> None:
    assert [begins_alike(each, (1, 2, 3)) for each in ((), (1,), (1, 2, 9), (2, 2, 3), (1, 2, 3, 4))] == [0, 1, 2, 0, 3]


async def test_it_is_saved_for_an_eviction_and_at_the_daemons_end(case: Case) -> None:
    narrow = Case(budget_gb=2.0)
    narrow.pool.starter.prompts.settings = ON
    narrow.disk.held = case.disk.held
    await narrow.used("a")
    await narrow.used("b")
    assert saved(narrow) == [900]
    await narrow.pool.close()
    assert saved(narrow) == [900, 900]


async def test_nothing_is_written_unless_it_is_configured(case: Case) -> None:
    case.pool.starter.prompts.settings = NONE_SAVED
    await case.used("a")
    await case.pool.stop("llama", "a")
    assert case.disk.files == {}
    assert not any("SLOT" in each for each in case.machine.started[0].launch.environment)


async def test_what_was_saved_is_removed_once_nothing_is_to_be_kept(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    case.pool.starter.prompts.settings = NONE_SAVED
    await case.pool.starter.prompts.keep_only(case.spec, [file("a")])
    assert case.disk.files == {}


async def test_it_goes_with_the_model_and_with_the_engine(case: Case) -> None:
    prompts = case.pool.starter.prompts
    for name in "ab":
        await case.used(name)
        await case.pool.stop("llama", name)
    await prompts.keep_only(case.spec, [file("b")])
    assert len(case.disk.files) == 1
    await prompts.keep_backends(["another"])
    assert case.disk.files == {}


async def test_another_context_reads_nothing_back_that_was_saved_for_this_one(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    case.spec = replace(case.spec, engine=replace(case.spec.engine or EngineProgram(), context_tokens=512))
    await asked(case, GOES_ON)
    assert saved(case) == [900]


async def test_a_prompt_that_is_cheap_to_read_is_not_saved(case: Case) -> None:
    case.pool.starter.prompts.read_j = lambda _spec, _file, _tokens: 0.0
    await case.used("a")
    await case.pool.stop("llama", "a")
    assert case.disk.files == {}


async def test_an_engine_that_fails_to_save_or_to_read_is_stopped_and_started_all_the_same(case: Case) -> None:
    await case.used("a")
    await case.pool.stop("llama", "a")
    case.disk.fails = ProxyError(ErrorKind.UPSTREAM_FAILED, "the engine answered 500")
    await asked(case, GOES_ON)
    why = case.pool.starter.prompts.state.trouble
    assert str(why) == "the prompts of a were not read back from the disk: the engine answered 500"
    await case.pool.stop("llama", "a")
    assert (case.machine.names, case.disk.files) == ([], {})
    why = case.pool.starter.prompts.state.trouble
    assert str(why) == "the prompts of a were not written to the disk: the engine answered 500"


async def test_an_engine_that_does_not_answer_holds_up_a_stop_for_a_few_seconds_only(case: Case) -> None:
    case.disk.hangs = True
    await case.used("a")
    async with asyncio.timeout(20):
        await case.pool.stop("llama", "a")
    assert case.machine.names == []


async def test_a_program_that_saves_no_prompts_is_left_alone(case: Case) -> None:
    case.spec = engine_spec(
        program=EngineProgram(kind=ProgramKind.VLLM, command=("run", "{model}", "{name}", "{port}"))
    )
    await case.used("a")
    await case.pool.stop("llama", "a")
    assert case.disk.files == {}


def test_what_is_saved_has_to_spare_more_joules_than_the_disk_takes() -> None:
    assert pays(read_j=100.0, size_bytes=1e9)
    assert not pays(read_j=10.0, size_bytes=1e9)
    assert not pays(read_j=0.0, size_bytes=0.0)


@pytest.mark.parametrize("fault", [OSError("the disk is gone"), RuntimeError("a fault of the proxy")])
async def test_an_engine_is_stopped_whatever_befalls_its_prompts(
    case: Case, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    await case.used("a")

    async def failing(*_: object) -> None:
        raise fault

    monkeypatch.setattr(case.disk, "bound", failing)
    async with asyncio.timeout(60):
        await case.pool.stop("llama", "a")
    assert case.machine.names == []
