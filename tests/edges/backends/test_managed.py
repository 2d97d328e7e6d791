"""A backend whose engines the proxy runs: what its folder and its engines tell, and what that leads to."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from ollama_proxyd.core.engine_files import ModelFile, Shelf
from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event, Finished, Flow
from ollama_proxyd.core.faults import Fault, fault_of
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.saved_prompts import SavedPrompt
from ollama_proxyd.dialects.openai.parse import parse_chat
from ollama_proxyd.edges.backends.managed import ManagedBackend
from ollama_proxyd.services.engines.starting import HUNG_S
from ollama_proxyd.services.engines.survivors import mark_of
from tests.fakes import pass_by, settle
from tests.services.engines.machine import GB, Answering, Case, engine_spec

ASKED = parse_chat(b'{"model":"a","stream":true,"messages":[{"role":"user","content":"hi"}]}', Hints())
UNREADABLE = Reason("models_folder_unreadable", path="/models", detail="Too many open files")


class Folder:
    """The files that a look finds."""

    def __init__(self, *files: ModelFile) -> None:
        self.shelf = Shelf(files)

    async def look(self, _program: EngineProgram) -> Shelf:
        return self.shelf


class House:
    """A backend of one model, in a folder that can be out of reach."""

    def __init__(self, path: Path) -> None:
        self.case, self.path = Case(), path
        self.file = ModelFile(Model("a", GB), str(path))
        self.folder = Folder(self.file)
        self.backend = ManagedBackend(self.case.spec, self.case.pool, self.folder, cast("Any", None))

    async def answer(self) -> list[Event]:
        async with aclosing(self.backend.answer(ASKED, "a")) as events:
            return [event async for event in events]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    path = tmp_path / "a.gguf"
    path.touch()
    house = House(path)
    await house.backend.probe()
    yield house
    await house.case.pool.close()


async def test_a_folder_out_of_reach_ends_no_engine_and_deletes_no_prompt(house: House) -> None:
    await house.answer()
    at = (house.case.spec.id, mark_of(house.case.spec, house.file), "one")
    house.case.disk.files[at] = SavedPrompt("one", 1000, (1, 2))
    house.folder.shelf = Shelf((), (UNREADABLE,))
    await house.backend.probe()
    await pass_by(2 * house.case.machine.stop_s)
    assert house.case.machine.names == ["a"]
    assert at in house.case.disk.files
    house.path.unlink()
    house.folder.shelf = Shelf()
    await house.backend.probe()
    await pass_by(2 * house.case.machine.stop_s)
    assert house.case.machine.names == []
    assert at not in house.case.disk.files


async def test_one_that_says_that_it_is_dead_is_replaced_and_the_request_is_answered(house: House) -> None:
    await house.answer()
    house.case.machine.started[0].is_dead = True
    (engine,) = house.case.backends
    assert isinstance(engine, Answering)
    engine.script = (ProxyError(ErrorKind.UPSTREAM_FAILED, "generation thread died", status=404),)
    assert isinstance((await house.answer())[-1], Finished)
    await pass_by(2 * house.case.machine.stop_s)
    assert [each.runs for each in house.case.machine.started] == [False, True]


async def test_one_that_fails_and_does_not_listen_any_more_is_replaced_before_it_has_ended(house: House) -> None:
    await house.answer()
    (engine,) = house.case.backends
    assert isinstance(engine, Answering)
    engine.script = (ProxyError(ErrorKind.UPSTREAM_FAILED, "EngineCore encountered an issue.", status=500),)
    engine.process.began_s = house.case.machine.clock.monotonic() + 1000
    assert isinstance((await house.answer())[-1], Finished)
    await pass_by(2 * house.case.machine.stop_s)
    assert [each.runs for each in house.case.machine.started] == [False, True]


async def test_what_a_folder_says_of_a_model_is_shown_whether_it_runs_or_not(house: House) -> None:
    model = Model("a", GB, family="qwen2", context_length=32768)
    program = EngineProgram(ProgramKind.VLLM, command=("run", "{model}", "{name}", "{port}"))
    spec = engine_spec(program=program)
    backend = ManagedBackend(spec, house.case.pool, Folder(ModelFile(model, "/models/a")), cast("Any", None))
    before = await backend.show("a", {})
    async with aclosing(backend.answer(ASKED, "a")) as events:
        assert [event async for event in events]
    assert before == await backend.show("a", {})
    assert before["details"]["family"] == "qwen2"


@pytest.mark.parametrize("kind", [ErrorKind.UPSTREAM_FAILED, ErrorKind.UPSTREAM_REJECTED])
async def test_one_that_refuses_a_request_and_is_well_stays(house: House, kind: ErrorKind) -> None:
    await house.answer()
    (engine,) = house.case.backends
    assert isinstance(engine, Answering)
    engine.script = (ProxyError(kind, "it cannot", status=500),)
    with pytest.raises(ProxyError, match="it cannot"):
        await house.answer()
    assert [each.runs for each in house.case.machine.started] == [True]


async def test_a_piece_of_an_answer_is_a_sign_of_life(house: House) -> None:
    await house.answer()
    (engine,) = house.case.backends
    assert isinstance(engine, Answering)
    engine.flows = True
    house.case.machine.started[0].hangs = True
    pieces = 0

    async def look() -> None:
        await house.case.pool.measure(house.case.spec.id)
        await settle()

    async with aclosing(house.backend.answer(ASKED, "a")) as events:
        async for event in events:
            await look()
            house.case.machine.clock.advance(HUNG_S)
            if isinstance(event, Flow):
                await event.pour(lambda _: True)
                pieces += 1
                await look()
    await pass_by(2 * house.case.machine.stop_s)
    assert pieces
    assert house.case.machine.names == ["a"]


async def test_after_a_reload_a_request_is_answered_that_comes_before_the_first_check(house: House) -> None:
    reloaded = ManagedBackend(house.case.spec, house.case.pool, house.folder, cast("Any", None))
    async with aclosing(reloaded.answer(ASKED, "a")) as events:
        assert [event async for event in events]


async def test_a_model_that_a_folder_lacks_is_gone_and_no_lack_of_the_engine(house: House) -> None:
    house.folder.shelf = Shelf()
    await house.backend.probe()
    with pytest.raises(ProxyError) as raised:
        await house.answer()
    assert fault_of(raised.value) is Fault.MODEL_GONE
