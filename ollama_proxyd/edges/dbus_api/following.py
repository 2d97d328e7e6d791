"""How an object hears of a measurement that moves all the time: calmly."""

from collections.abc import Callable
from typing import TypeVar

from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock

T = TypeVar("T")

MEASURED_EVERY_S = 0.2
"""Changes of measurements are told at most this often: five times a second."""


async def calmly(cell: Cell[T], tell: Callable[[T], None], clock: Clock) -> None:
    """Tell the value now, and the latest as soon as the last one is long enough ago; never returns.

    A value that comes after a long time is told at once, and no timer wakes the machine after it.
    """
    told: list[T] = []
    told_s = 0.0
    async for value in cell.changes():
        if told and told[0] is value:
            continue  # it was the latest already when the last pause was over
        left_s = told_s + MEASURED_EVERY_S - clock.monotonic()
        if told and left_s > 0:
            await clock.sleep(left_s)
        told, told_s = [cell.value], clock.monotonic()
        tell(cell.value)
