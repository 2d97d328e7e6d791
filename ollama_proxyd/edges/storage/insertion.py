"""How rows are put into the history: many by one statement, since Python lets go of its lock for each."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import msgspec

from ollama_proxyd.core.history import Row
from ollama_proxyd.core.requests import Json

ROWS_AT_ONCE: Final = 32
"""Beside a busy loop a thread waits for the lock after each statement, and the loop after it."""
OF_ROWS: Final = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}
)
"""Result codes of a row that no file takes (sqlite.org/rescode.html)."""
_ADDS: Final = {
    "devices": " ON CONFLICT DO UPDATE SET joules = joules + excluded.joules, error_j = error_j + excluded.error_j"
}
"""What becomes of a row that is there already."""
SECONDS_PER_MINUTE: Final = 60


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> Exception | None:
    """Insert rows, those of a table in their order; raises sqlite3.Error.

    A row that no file would take is left out; returns why, for the last of them.
    """
    refused = None
    for batch in _batches(rows):
        refused = (_insert(connection, batch) if len(batch) == ROWS_AT_ONCE else _each(connection, batch)) or refused
    return refused


def _batches(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """Rows of the same table and columns that follow each other there."""
    waiting: dict[str, list[Row]] = {}
    for row in rows:
        batch = waiting.setdefault(row.table, [])
        if batch and (len(batch) == ROWS_AT_ONCE or tuple(batch[-1].values) != tuple(row.values)):
            yield batch
            batch = waiting[row.table] = []
        batch.append(row)
    yield from waiting.values()


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> Exception | None:
    """Insert rows of the same columns by one statement; where one of them is refused, each by its own."""
    first = rows[0]
    try:
        values = [*chain.from_iterable(map(_values, rows))]
        connection.execute(_statement(first.table, tuple(first.values), len(rows)), values)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if not _is_of_row(error):
            raise
        return error if len(rows) == 1 else _each(connection, rows)
    return None


def _each(connection: sqlite3.Connection, rows: Sequence[Row]) -> Exception | None:
    refused = [_insert(connection, (row,)) for row in rows]
    return next(filter(None, reversed(refused)), None)


def _values(row: Row) -> tuple[Json, ...]:
    unix_s = row.values.get("unix_s")
    return tuple(row.values.values()) if unix_s is None else (*row.values.values(), day_of(float(unix_s)))


def day_of(unix_s: float) -> str:
    """The local date of a time."""
    return _day_of(unix_s // SECONDS_PER_MINUTE)


@lru_cache(maxsize=2)
def _day_of(minute: float) -> str:
    """The date that all moments of one minute share: clocks of the world differ by whole ones."""
    return time.strftime("%Y-%m-%d", time.localtime(minute * SECONDS_PER_MINUTE))


def _is_of_row(error: Exception) -> bool:
    """Whether the fault is the row's: of its values or columns, not of the file or the disk."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in OF_ROWS


@lru_cache(maxsize=64)
def _statement(table: str, columns: tuple[str, ...], rows: int) -> str:
    """Inserts so many rows of one kind; what has a time has its day as well."""
    columns = (*columns, "day") if "unix_s" in columns else columns
    places = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {places}{_ADDS.get(table, '')}"  # noqa: S608 - our names


def _as_json(value: Json) -> str:
    return msgspec.json.encode(value).decode()


for _kind in (dict, list):
    sqlite3.register_adapter(_kind, _as_json)  # asked for a value that is neither a number nor a text
