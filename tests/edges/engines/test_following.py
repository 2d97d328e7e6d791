"""The lines of a program as they come; it ends with its reader, and an endless line is none."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from ollama_proxyd.edges.engines.following import MOST_BYTES, lines_of
from ollama_proxyd.edges.engines.runner import Runner
from ollama_proxyd.edges.engines.transient import TransientUnits
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus_line import BusLine


async def test_lines_come_in_their_order_without_what_is_too_long() -> None:
    script = f"echo one; head -c {2 * MOST_BYTES} /dev/zero | tr '\\0' x; echo; echo two"
    found = [line async for line in lines_of("sh", "-c", script)]
    assert (found[0], found[-1]) == ("one", "two")
    assert all(len(line) <= MOST_BYTES for line in found)


async def test_the_program_ends_with_its_reader() -> None:
    async with aclosing(lines_of("sh", "-c", "echo $$; exec sleep 1000")) as lines:
        pid = int(await anext(lines))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        await anext(lines_of("/nowhere/program"))


async def test_a_log_is_followed_over_its_beginning_anew(tmp_path: Path) -> None:
    runner = Runner(tmp_path, {}, TransientUnits(BusLine("unix:path=/nowhere", SystemClock())))
    file = runner.log_of("llama-a")
    file.write_text("one\n\x1b[31mred\n")
    async with asyncio.timeout(20), aclosing(runner.follow("llama-a")) as lines:
        assert [await anext(lines), await anext(lines)] == ["one", " [31mred"]
        file.write_text("anew\n")
        assert await anext(lines) == "anew"
