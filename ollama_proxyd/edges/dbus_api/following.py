"""How an object hears of changes: at once, or calmly where a measurement moves all the time."""

from collections.abc import Callable
from typing import TypeVar

from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock

T = TypeVar("T")

MEASURED_EVERY_S = 0.2
"""Changes of measurements are told at most this often: five times a second."""


async def promptly(cell: Cell[T], tell: Callable[[T], None]) -> None:
    """Tell the value now, and each new one at once; never returns."""
    async for value in cell.changes():
        tell(value)


async def calmly(cell: Cell[T], tell: Callable[[T], None], clock: Clock) -> None:
    """Tell the value now, and then the latest after a pause; what lay between is skipped; never returns."""
    async for value in cell.changes():
        tell(value)
        await clock.sleep(MEASURED_EVERY_S)
