"""How state and facts travel inside the process."""

import asyncio
from functools import partial

import pytest

from ollama_proxyd.services.cell import Cell, Ear, Topic


async def test_a_follower_sees_the_value_of_now_and_then_each_change() -> None:
    cell = Cell(1)
    changes = cell.changes()
    assert await anext(changes) == 1
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    assert not waiting.done()
    cell.set(2)
    assert await waiting == 2
    await changes.aclose()


async def test_a_slow_follower_sees_only_the_latest_value() -> None:
    cell = Cell(1)
    changes = cell.changes()
    await anext(changes)
    cell.set(2)
    cell.set(3)
    assert await anext(changes) == 3
    await changes.aclose()


async def test_setting_an_equal_value_wakes_nobody() -> None:
    cell = Cell((1, 2))
    changes = cell.changes()
    await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    cell.set((1, 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_all_followers_hear_of_one_change() -> None:
    cell = Cell("a")
    followers = [cell.changes(), cell.changes()]
    for follower in followers:
        await anext(follower)
    waiting = [asyncio.ensure_future(anext(follower)) for follower in followers]
    await asyncio.sleep(0)
    cell.set("b")
    assert await asyncio.gather(*waiting) == ["b", "b"]


def test_a_fact_is_told_once_to_each_listener_of_that_moment() -> None:
    topic: Topic[str] = Topic()
    heard: list[str] = []
    topic.publish("before anyone listened")
    stop = topic.listen(heard.append)
    topic.publish("first")
    stop()
    topic.publish("after")
    assert heard == ["first"]


def test_a_listener_that_fails_costs_neither_the_others_nor_the_publisher(caplog: pytest.LogCaptureFixture) -> None:
    topic: Topic[str] = Topic()
    heard: list[str] = []

    def fails(fact: str) -> None:
        raise RuntimeError(fact)

    topic.listen(fails)
    topic.listen(heard.append)
    topic.publish("a fact")
    assert heard == ["a fact"]
    assert "a listener failed" in caplog.text


def test_an_ear_hears_cells_and_topics_once_each_and_only_while_that_is_wanted() -> None:
    cell, topic = Cell(0), Topic[int]()
    heard: list[int] = []
    ear = Ear(partial(cell.listen, heard.append), partial(topic.listen, heard.append))
    for number, is_wanted in enumerate((False, True, True, False, False, True)):
        ear.want(is_wanted)
        cell.set(10 * number + 1)
        topic.publish(10 * number + 2)
    assert heard == [11, 12, 21, 22, 51, 52]
