"""Changes of the file are noticed, with the real inotify."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from ollama_proxyd.config import watch
from tests.fakes import FakeClock


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    path.unlink()


class HurriedClock(FakeClock):
    """Does not wait; lets others run."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Watching:
    def __init__(self, stream: AsyncGenerator[None, None]) -> None:
        self._stream = stream
        self._next: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Wait for the next change from now on; the watch is in place when this returns."""
        self._next = asyncio.ensure_future(anext(self._stream))
        await asyncio.sleep(0.01)

    async def noticed(self) -> bool:
        assert self._next is not None
        done, _ = await asyncio.wait([self._next], timeout=20)
        return bool(done) and self._next.exception() is None

    async def quiet(self) -> bool:
        assert self._next is not None
        done, _ = await asyncio.wait([self._next], timeout=0.05)
        return not done

    async def end(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator[Watching]:
    async with aclosing(watch.changes(paths, HurriedClock())) as stream:
        it = Watching(stream)
        await it.begin()
        try:
            yield it
        finally:
            await it.end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "config.yaml"
    write(place, "a: 1\n")
    return place


class PatientClock(FakeClock):
    """Waits until it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.set()
        await self.go_on.wait()


async def test_what_others_write_beside_it_all_the_time_wakes_nobody_until_a_change_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, reads, drain = PatientClock(), list[None](), watch.Inotify.drain

    def counted(inotify: watch.Inotify) -> None:
        reads.append(None)
        drain(inotify)

    monkeypatch.setattr(watch.Inotify, "drain", counted)
    async with aclosing(watch.changes([path], clock)) as stream:
        it = Watching(stream)
        await it.begin()
        for number in range(100):
            await asyncio.sleep(0)
            write(path.with_name("log"), str(number))
        await asyncio.wait_for(clock.waits.wait(), 20)
        told = len(reads)
        write(path, "a: 2\n")
        clock.go_on.set()
        assert await it.noticed()
    assert told == 0


async def test_a_file_that_is_written_again_is_noticed(path: Path) -> None:
    async with watching(path) as it:
        write(path, "a: 22\n")
        assert await it.noticed()


async def test_a_file_that_an_editor_replaces_is_noticed_each_time(path: Path) -> None:
    async with watching(path) as it:
        for number in (1, 2, 3):
            draft = path.with_suffix(".new")
            write(draft, f"a: {'x' * number}\n")
            draft.replace(path)
            assert await it.noticed()
            await it.begin()


async def test_a_file_that_is_removed_and_made_anew_is_noticed_twice(path: Path) -> None:
    async with watching(path) as it:
        remove(path)
        assert await it.noticed()
        await it.begin()
        write(path, "a: 1\n")
        assert await it.noticed()


async def test_a_file_in_a_folder_that_does_not_exist_yet_is_noticed(tmp_path: Path) -> None:
    late = tmp_path / "x/y/config.yaml"
    async with watching(late) as it:
        late.parent.mkdir(parents=True)
        assert await it.quiet()
        write(late, "a: 1\n")
        assert await it.noticed()


async def test_a_change_of_the_file_behind_links_is_noticed(tmp_path: Path) -> None:
    for name in ("home", "middle", "real"):
        (tmp_path / name).mkdir()
    real, middle, link = tmp_path / "real/c", tmp_path / "middle/c", tmp_path / "home/c"
    write(real, "1")
    middle.symlink_to("../real/c")
    link.symlink_to(middle)
    async with watching(link) as it:
        write(real, "22")
        assert await it.noticed()
        await it.begin()
        other = tmp_path / "real/d"
        write(other, "333")
        assert await it.quiet()
        remove(middle)
        middle.symlink_to(other)
        assert await it.noticed()


async def test_neighbours_of_the_file_are_of_no_interest(path: Path) -> None:
    async with watching(path) as it:
        write(path.with_name("other"), "x")
        assert await it.quiet()


async def test_any_of_several_files_is_noticed(path: Path, tmp_path: Path) -> None:
    second = tmp_path / "etc/config.yaml"
    async with watching(path, second) as it:
        second.parent.mkdir()
        write(second, "x")
        assert await it.noticed()


async def test_links_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    async with watching(tmp_path / "a") as it:
        remove(tmp_path / "a")
        write((tmp_path / "a"), "x")
        assert await it.noticed()


async def test_a_system_that_cannot_tell_says_so_and_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: watch.Inotify) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watch.Inotify, "__init__", refuse)
    with caplog.at_level(logging.WARNING):
        assert [each async for each in watch.changes([path], HurriedClock())] == []
    assert "not noticed (Too many open files); send SIGHUP to reload it" in caplog.text
