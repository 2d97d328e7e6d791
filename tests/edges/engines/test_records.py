"""Engines are found again after a crash: by their number, the moment when they began, and their key."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_proxyd.core.engine_instances import KeptEngine, Launch
from ollama_proxyd.core.memory_budget import RAM
from ollama_proxyd.edges.engines import processes, records
from ollama_proxyd.edges.engines.child import Child
from ollama_proxyd.edges.engines.runner import Runner
from tests.edges.engines.without_systemd import runner_in

KEPT = KeptEngine("llama", "tiny", "/models/tiny.gguf", 5, "mark", 4711, "secret", {RAM: 1e9})
DEAD = processes.Identity(2**22 + 1, 1, "an earlier start of the machine")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return runner_in(tmp_path / "engines", {"PATH": os.environ["PATH"]})


@pytest.fixture
async def process(runner: Runner) -> AsyncIterator[Child]:
    words = (sys.executable, "-c", "import time; time.sleep(99)")
    process = await runner.start(Launch("llama-tiny", words, (), KEPT.address, KEPT.api_key))
    yield process
    await process.stop()


def note_of(folder: Path) -> Path:
    (file,) = folder.glob("running-*.json")
    return file


def crash(folder: Path) -> Path:
    """Have the daemon that noted be one that has ended; its file is left."""
    file = note_of(folder)
    notes = json.loads(file.read_bytes())
    left = folder / f"running-{DEAD.pid}.json"
    left.write_text(json.dumps({**notes, "owner": DEAD}))
    file.unlink()
    return left


async def test_what_was_noted_is_found_and_its_end_is_seen(runner: Runner, process: Child, tmp_path: Path) -> None:
    runner.keep([(KEPT, process)])
    left = crash(tmp_path / "engines")
    after = runner_in(tmp_path / "engines", {})
    ((kept, found),) = await after.found()
    assert (kept, found.pid) == (KEPT, process.pid)
    assert left.exists()
    after.keep([(kept, found)])
    assert not left.exists()
    ending = asyncio.ensure_future(found.ended())
    await found.stop()
    async with asyncio.timeout(20):
        assert "its process ended" in (await ending).words


async def test_only_its_user_reads_the_notes(runner: Runner, process: Child, tmp_path: Path) -> None:
    runner.keep([(KEPT, process)])
    assert note_of(tmp_path / "engines").stat().st_mode & 0o777 == 0o600


async def test_what_a_daemon_has_that_runs_is_left_to_it(runner: Runner, process: Child, tmp_path: Path) -> None:
    runner.keep([(KEPT, process)])
    own = records.Records(tmp_path / "engines")
    own._own = DEAD
    assert own.found() == ([], [], ())


async def test_notes_that_cannot_be_read_are_passed_over(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    (folder / "running-1.json").write_text('{"owner": "nobody"}')
    assert await runner.found() == []
    runner.keep([])
    runner.close()
    assert not records.any_in(folder)


async def test_another_process_of_the_same_number_or_with_another_key_is_not_taken(
    runner: Runner, process: Child, tmp_path: Path
) -> None:
    other_key = replace(KEPT, api_key="another")
    runner.keep([(other_key, process)])
    crash(tmp_path / "engines")
    assert await runner_in(tmp_path / "engines", {}).found() == []
    begun = processes.identity(process.pid)
    assert not processes.runs(begun._replace(began=(begun.began or 0) - 1))


async def test_an_engine_that_nobody_noted_is_ended(runner: Runner, process: Child) -> None:
    assert await runner.found() == []
    async with asyncio.timeout(20):
        assert (await process.ended()).words == "its process was ended by SIGTERM"


async def test_an_engine_is_ended_whose_daemon_could_note_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    daemon = f"""
import asyncio, os, sys
from pathlib import Path
from ollama_proxyd.core.engine_instances import Address, Launch
from tests.edges.engines.without_systemd import runner_in
async def start(folder):
    runner = runner_in(Path(folder), {{"PATH": os.environ["PATH"]}})
    words = (sys.executable, "-c", "import time; time.sleep(99)")
    return (await runner.start(Launch("x", words, (), Address(1), "key"))).pid
print(asyncio.run(start({str(folder)!r})), asyncio.run(start({str(tmp_path / "other")!r})), flush=True)
os._exit(0)
"""
    begun = await asyncio.create_subprocess_exec(sys.executable, "-c", daemon, stdout=asyncio.subprocess.PIPE)
    told, _ = await begun.communicate()
    left, of_another = map(int, told.split())
    for note in folder.glob("running-*.json"):
        note.unlink()
    try:
        await runner_in(folder, {"PATH": os.environ["PATH"]}).found()
        async with asyncio.timeout(20):
            await processes.end_of(left)
        assert processes.runs(processes.identity(of_another)), "it is left to a daemon with its folder"
    finally:
        for pid in (left, of_another):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_where_nothing_runs_no_notes_are_left(runner: Runner, process: Child, tmp_path: Path) -> None:
    runner.keep([(KEPT, process)])
    runner.close()
    assert records.any_in(tmp_path / "engines")
    runner.keep([])
    runner.close()
    assert not records.any_in(tmp_path / "engines")
