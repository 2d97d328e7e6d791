"""Readings that are due together take one thread and one waking; one that hangs keeps nobody else."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from ollama_proxyd.edges.sensors import reading_thread
from ollama_proxyd.edges.sensors.reading_thread import ReadingThread


def here() -> int:
    return threading.get_ident()


def hanging(go_on: threading.Event) -> Callable[[], None]:
    def work() -> None:
        go_on.wait(60)

    return work


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_thread, "PATIENCE_S", 0.02)


async def test_all_readings_are_done_in_one_thread_that_is_not_the_loops() -> None:
    thread = ReadingThread()
    threads = {*await asyncio.gather(*(thread.do(here) for _ in range(5))), await thread.do(here)}
    assert len(threads) == 1
    assert here() not in threads


async def test_readings_that_end_together_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, thread, go_on = asyncio.get_running_loop(), ReadingThread(), threading.Event()
    called: list[object] = []
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[..., None], *arguments: object) -> object:
        called.append(callback)
        return wake(callback, *arguments)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    work = [asyncio.ensure_future(thread.do(each)) for each in (hanging(go_on), here, here)]
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(*work)
    assert len(called) == 1


async def test_trouble_of_a_sensor_is_raised_where_it_was_asked() -> None:
    def trouble() -> None:
        raise PermissionError("not for you")

    thread = ReadingThread()
    with pytest.raises(PermissionError, match="not for you"):
        await thread.do(trouble)
    assert await thread.do(here) != here()


async def test_a_reading_that_hangs_keeps_neither_those_behind_it_nor_those_before_it(impatient: None) -> None:
    thread, go_on = ReadingThread(), threading.Event()
    before, hung, behind = (asyncio.ensure_future(thread.do(each)) for each in (here, hanging(go_on), here))
    async with asyncio.timeout(20):
        assert await before != await behind, "another thread goes on"
    assert not hung.done()
    assert await thread.do(here) == behind.result()
    go_on.set()
    async with asyncio.timeout(20):
        await hung
        while True:
            if all(each.ident != before.result() for each in threading.enumerate()):
                return
            await asyncio.sleep(0.005)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_fault_of_ours_ends_its_reading_and_no_other(impatient: None) -> None:
    def fault() -> None:
        raise ValueError("a name that is not UTF-8")

    thread = ReadingThread()
    faulty, behind = asyncio.ensure_future(thread.do(fault)), asyncio.ensure_future(thread.do(here))
    with pytest.raises(OSError, match="by a fault of the proxy"):
        await faulty
    async with asyncio.timeout(20):
        assert await behind != here()
        assert await thread.do(here) != here()
