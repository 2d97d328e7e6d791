"""The lines of a program as they come; it ends with its reader, and an endless line is none."""

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from ollama_proxyd.core.engine_instances import KeptEngine
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.engines.following import MOST_BYTES, lines_of
from ollama_proxyd.edges.engines.records import Noted, Notes
from tests.edges.engines.without_systemd import runner_in

Journal = Callable[[str], int]


async def test_lines_come_in_their_order_without_what_is_too_long() -> None:
    script = f"echo one; head -c {2 * MOST_BYTES} /dev/zero | tr '\\0' x; echo; echo two"
    found = [line async for line in lines_of("sh", "-c", script)]
    assert found == ["one", "two"]


async def test_a_line_without_its_end_is_told_at_the_end() -> None:
    assert [line async for line in lines_of("printf", "one\\n\\ntwo")] == ["one", "", "two"]
    long = f"head -c {MOST_BYTES + 1} /dev/zero | tr '\\0' x"
    assert [line async for line in lines_of("sh", "-c", long)] == []


async def test_the_program_ends_with_its_reader() -> None:
    async with aclosing(lines_of("sh", "-c", "echo $$; exec sleep 1000")) as lines:
        pid = int(await anext(lines))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(OSError, match="/nowhere/program cannot be started: No such file"):
        await anext(lines_of("/nowhere/program"))


async def test_a_program_that_fails_is_told_with_its_status() -> None:
    lines = lines_of("sh", "-c", "echo one; exit 3")
    assert await anext(lines) == "one"
    with pytest.raises(OSError, match="sh ended with status 3"):
        await anext(lines)


async def test_a_log_is_followed_over_its_beginning_anew(tmp_path: Path) -> None:
    runner = runner_in(tmp_path, {})
    file = runner.log_of("llama-a")
    file.write_text("one\n\x1b[31mred\n")
    async with asyncio.timeout(20), aclosing(runner.follow("llama-a", 20)) as lines:
        assert [await anext(lines), await anext(lines)] == ["one", " [31mred"]
        file.write_text("anew\n")
        assert await anext(lines) == "anew"


async def test_as_many_of_the_last_lines_are_told_as_are_asked_for(tmp_path: Path) -> None:
    runner = runner_in(tmp_path, {})
    runner.log_of("llama-a").write_text("".join(f"{number} {100 * 'x'}\n" for number in range(500)))
    assert [line.split()[0] for line in await runner.log("llama-a", 400)] == [str(each) for each in range(100, 500)]
    async with asyncio.timeout(20), aclosing(runner.follow("llama-a", 3)) as lines:
        assert (await anext(lines)).startswith("497")


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Sets what the journal's program finds."""
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\ncat {tmp_path}/journal\n")
    (tmp_path / "journalctl").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return (tmp_path / "journal").write_text


async def test_the_log_of_a_unit_that_an_earlier_daemon_started_is_in_the_journal(
    tmp_path: Path, journal: Journal
) -> None:
    runner, engine = runner_in(tmp_path, {}), await asyncio.create_subprocess_exec("sleep", "1000")
    kept = KeptEngine("llama", "a", "/models/a.gguf", 5, "mark", 4711, "secret", {})
    identity = processes.identity(engine.pid)
    notes = Notes(processes.Identity(2**22 + 1, 1, "an earlier start"), [Noted(kept, identity, "a-unit.service")])
    (tmp_path / "running-1.json").write_bytes(msgspec.json.encode(notes))
    try:
        assert [each.model for each, _ in await runner.found()] == ["a"]
    finally:
        engine.kill()
        await engine.wait()
    assert runner.way == Reason("engines_as_units")
    journal("spoken as a unit\n")
    assert await runner.log("llama-a", 20) == ["spoken as a unit"]


async def test_a_log_is_followed_where_its_last_lines_are(tmp_path: Path, journal: Journal) -> None:
    runner = runner_in(tmp_path, {})
    runner.way = Reason("engines_as_units")
    runner.log_of("llama-a").write_text("in the file\n")
    for written in ("", "in the journal\n"):
        journal(written)
        async with asyncio.timeout(20), aclosing(runner.follow("llama-a", 20)) as lines:
            assert [await anext(lines)] == await runner.log("llama-a", 20)
