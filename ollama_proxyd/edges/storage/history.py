"""The history, written by a thread of its own: nothing that goes wrong with it stops or slows an answer."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ollama_proxyd.core.energy_books import Asked, Books
from ollama_proxyd.core.energy_hours import EnergyHours
from ollama_proxyd.core.energy_series import Series
from ollama_proxyd.core.history import MakeRow, Row, Values
from ollama_proxyd.core.prewarm import Habits
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.storage import history_queries
from ollama_proxyd.edges.storage.history_file import HistoryFile, is_damaged

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_WAITING = 10_000
"""How many rows wait for a file that cannot be written; beyond them the oldest are lost."""


class KeptHistory:
    """A HistoryStore over a file; what goes wrong is logged once, and told while it lasts."""

    def __init__(self, file: HistoryFile) -> None:
        self._file = file
        self._given: deque[MakeRow] = deque(maxlen=MOST_WAITING)
        self._unwritten: list[Row] = []
        self._writer = ThreadPoolExecutor(1, "history")
        self._is_due = False
        """Whether a write has not begun; it will have all that was given by then."""
        self._trouble: Reason | None = None

    @property
    def trouble(self) -> Reason | None:
        """Why nothing can be kept now, else what became of an earlier file; None where all is well."""
        if self._trouble is not None or self._file.set_aside is None:
            return self._trouble
        name, why = self._file.set_aside
        return Reason("history_set_aside", name=name, detail=why)

    def add(self, rows: Sequence[MakeRow]) -> None:
        """Keep these rows soon; returns at once."""
        self._given.extend(rows)
        if not self._is_due:
            self._is_due = True
            self._writer.submit(self._write)

    async def books(self, asked: Asked) -> Books:
        """What days cost, what was added before included."""
        return await self._read(lambda connection: history_queries.books(connection, asked), Books(asked))

    async def series(self, asked: Asked) -> Series:
        """What hours or days cost, what was added before included."""
        return await self._read(lambda connection: history_queries.series(connection, asked), Series(Books(asked)))

    async def hours(self, since_s: float) -> EnergyHours:
        """What hours cost from then on, what was added before included."""
        return await self._read(lambda connection: history_queries.hours(connection, since_s), EnergyHours(since_s))

    async def habits(self, since: str, today: str, hour: int) -> Habits:
        """When each model was first asked for in an hour of these days."""
        return await self._read(lambda connection: history_queries.habits(connection, since, today, hour), Habits())

    async def recent(self, limit: int) -> Sequence[Values]:
        """The last attempts, the oldest first."""
        return await self._read(lambda connection: history_queries.recent(connection, limit), ())

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._writer.submit(self._write)
        self._writer.submit(self._file.close).result()

    def _write(self) -> None:
        self._is_due = False
        made, odd = self._made()
        rows = [*self._unwritten, *made][-MOST_WAITING:]
        if not rows and odd is None:
            return
        try:
            refused = _tried(lambda: self._file.add(rows))
        except (sqlite3.Error, OSError) as error:
            self._unwritten = rows
            self._note(error)
        else:
            self._unwritten = []
            self._note(odd or refused)

    def _made(self) -> tuple[Sequence[Row], Exception | None]:
        """What waits, as rows; a fact that no row can be made of is left out, and the fault told."""
        made, odd = list[Row](), None
        for _ in range(len(self._given)):
            try:
                made.append(self._given.popleft()())
            except Exception as error:  # noqa: BLE001 - a fault of ours costs this row alone
                odd = error
        return made, odd

    async def _read(self, ask: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._answer, ask, otherwise)

    def _answer(self, ask: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        self._write()
        try:
            return _tried(lambda: self._file.read(ask))
        except (sqlite3.Error, OSError) as error:
            self._note(error)
            return otherwise

    def _note(self, error: Exception | None) -> None:
        """Take note of how it went, and say it where that is news."""
        was, self._trouble = self._trouble, None if error is None else Reason("history_failed", detail=_what(error))
        if self._trouble is not None and (was is None or str(was) != str(self._trouble)):
            log.warning("%s: %s; answers go on", self._file.path, self._trouble)
        elif was is not None and error is None:
            log.info("%s can be written again", self._file.path)


class NoHistory:
    """A HistoryStore where the configuration wants none."""

    trouble: Reason | None = Reason("history_off")

    def add(self, rows: Sequence[MakeRow]) -> None:
        """Forget them."""

    async def books(self, asked: Asked) -> Books:
        """Nothing."""
        return Books(asked)

    async def series(self, asked: Asked) -> Series:
        """Nothing."""
        return Series(Books(asked))

    async def hours(self, since_s: float) -> EnergyHours:
        """Nothing."""
        return EnergyHours(since_s)

    async def habits(self, since: str, today: str, hour: int) -> Habits:  # noqa: ARG002
        """Nothing."""
        return Habits()

    async def recent(self, limit: int) -> Sequence[Values]:  # noqa: ARG002
        """Nothing."""
        return ()

    def close(self) -> None:
        """Nothing is open."""


def _tried(work: Callable[[], T]) -> T:
    """What comes of it: the first try sets a damaged file aside, the second has a new one."""
    try:
        return work()
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
        return work()


def _what(error: Exception) -> str:
    """The cause in a few words, without what a row holds."""
    said = error.strerror if isinstance(error, OSError) else str(error) if isinstance(error, sqlite3.Error) else None
    return said or f"a row could not be kept ({type(error).__name__})"
