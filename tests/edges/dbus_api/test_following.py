"""Measurements are told calmly, and their silence sets no timer."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from ollama_proxyd.edges.dbus_api.following import calmly
from ollama_proxyd.services.cell import Cell
from tests.fakes import FakeClock, pass_by, settle


class Listener:
    """Somebody who is told calmly."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cell: Cell[int] = Cell(0)
        self.told: list[int] = []
        self.following = asyncio.create_task(calmly(self.cell, self.told.append, self.clock))


@pytest.fixture
async def listener() -> AsyncGenerator[Listener, None]:
    listener = Listener()
    await settle()
    yield listener
    listener.following.cancel()


async def test_a_change_after_a_long_time_is_told_at_once_and_sets_no_timer(listener: Listener) -> None:
    await pass_by(30)
    listener.cell.set(1)
    await settle()
    assert listener.told == [0, 1]
    assert listener.clock.sleeps == []


async def test_of_changes_in_quick_succession_the_last_is_told_once_after_a_pause(listener: Listener) -> None:
    for value in (1, 2, 3):
        listener.cell.set(value)
        await pass_by(0.05)
    assert listener.told == [0]
    await pass_by(0.06)
    assert listener.told == [0, 3]
    await pass_by(10)
    assert listener.told == [0, 3]
    assert len(listener.clock.sleeps) == 1


async def test_changes_without_an_end_are_told_five_times_a_second(listener: Listener) -> None:
    for value in range(1, 37):
        listener.cell.set(value)
        await pass_by(0.031)
    assert listener.told == [0, 7, 13, 20, 26, 33]
