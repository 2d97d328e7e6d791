"""What is asked of the history."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.energy_books import OTHERS, Asked, Books, By, Cost, DeviceCost, shortened
from ollama_proxyd.core.energy_hours import MOST_CHANGES, SECONDS_PER_HOUR, EnergyHours, HourCost, ModeChange
from ollama_proxyd.core.energy_series import MOST_PARTS, Part, Series
from ollama_proxyd.core.history import Values
from ollama_proxyd.core.prewarm import OWN_PROGRAM, Habits

_KEYS: Final[Mapping[By, str]] = {
    By.APP: "program",
    By.MODEL: "model",
    By.BACKEND: "backend",
    By.DAY: "day",
    By.MODE: "coalesce(effective_mode, '')",
}
_DAYS: Final = "day BETWEEN :since AND :until"
_SINCE: Final = "unix_s >= :since_s"
_JOULES: Final = "(prefill_j + decoding_j + load_j)"
_COSTS: Final = """
    SELECT {key} AS key, max(program_known_by) AS known_by, count(*) AS attempts, sum(result = 'ok') AS answers,
        total(prompt_tokens) AS prompt_tokens, total(completion_tokens) AS completion_tokens,
        total({joules}) AS energy_j, total({joules} * (energy_source = 'measured')) AS measured_j,
        total({joules} * (energy_source = 'attributed')) AS attributed_j,
        total({joules} * (energy_source = 'estimated')) AS estimated_j,
        total({joules} * energy_error) AS error_j
    FROM attempts WHERE {within} GROUP BY 1 ORDER BY energy_j DESC, 1"""
_SPENT: Final = """
    SELECT {key} AS key, currency, total(spent) AS spent
    FROM attempts WHERE {within} AND spent > 0 GROUP BY 1, 2"""
_SAVED: Final = """
    SELECT {key} AS key, total(saved_j) AS saved_j, count(saved_j) AS compared
    FROM requests WHERE {within} AND backend IS NOT NULL GROUP BY 1"""
_DEVICES: Final = """
    SELECT device, account, source, sum(joules) AS energy_j, sum(error_j) AS error_j
    FROM devices WHERE day BETWEEN :since AND :until AND :since_s IS NULL GROUP BY 1, 2, 3 ORDER BY energy_j DESC"""
_CACHED: Final = """
    SELECT count(*) AS cached, total(saved_j) AS cache_saved_j
    FROM requests WHERE {within} AND result = 'cached'"""
_WORST: Final = "max(CASE energy_source WHEN 'measured' THEN 0 WHEN 'attributed' THEN 1 ELSE 2 END) AS source"
_SERIES: Final = """
    WITH top AS (
        SELECT {key} AS key FROM attempts WHERE {within} GROUP BY 1 ORDER BY total({joules}) DESC, 1 LIMIT {most})
    SELECT {column} AS column, iif({key} IN top, {key}, '{others}') AS key, total({joules}) AS energy_j,
        total({joules} * energy_error) AS error_j, {worst}
    FROM attempts WHERE {within} GROUP BY 1, 2 ORDER BY 1, 2"""
_COLUMNS: Final = {
    _DAYS: "CAST(julianday(day) - julianday(:since) AS INTEGER)",
    _SINCE: f"CAST((unix_s - :since_s) / {SECONDS_PER_HOUR} AS INTEGER)",
}
_HOURS: Final = f"""
    SELECT CAST((unix_s - :since) / {SECONDS_PER_HOUR} AS INTEGER) AS hour, backend, total({_JOULES}) AS energy_j,
        total({_JOULES} * energy_error) AS error_j,
        {_WORST}
    FROM attempts WHERE unix_s >= :since GROUP BY 1, 2 ORDER BY 1, 2"""  # noqa: S608 - our own names
_CHANGES: Final = """
    SELECT unix_s, mode, effective_mode FROM modes
    WHERE unix_s >= coalesce((SELECT max(unix_s) FROM modes WHERE unix_s < ?), 0) ORDER BY unix_s DESC LIMIT ?"""
_HABITS: Final = f"""
    SELECT model,
        min(CAST(strftime('%s', unix_s, 'unixepoch', 'localtime') AS INTEGER) % {SECONDS_PER_HOUR}) AS first_s
    FROM requests WHERE day >= :since AND day < :today AND result = 'ok' AND program <> :own AND model IS NOT NULL
        AND strftime('%H', unix_s, 'unixepoch', 'localtime') = :hour
    GROUP BY model, day"""  # noqa: S608 - our own names
_USED_DAYS: Final = """
    SELECT count(DISTINCT day) AS days FROM requests WHERE day >= :since AND day < :today AND program <> :own"""
_RECENT: Final = "SELECT * FROM attempts ORDER BY id DESC LIMIT ?"


def books(connection: sqlite3.Connection, asked: Asked) -> Books:
    """What the time cost that is asked for."""
    values, words = _asked(asked)
    saved = {row["key"]: row for row in select(connection, _SAVED.format(**words), values)}
    spent: dict[str, dict[str, float]] = {}
    for row in select(connection, _SPENT.format(**words), values):
        spent.setdefault(row["key"], {})[row["currency"]] = row["spent"]
    costs = select(connection, _COSTS.format(**words), values)
    found = [replace(_cost(row, saved, asked.by), spent=spent.get(row["key"], {})) for row in costs]
    rows = sorted(found, key=lambda row: row.key) if asked.by is By.DAY else shortened(found)
    devices = tuple(DeviceCost(**row) for row in select(connection, _DEVICES, values))
    (cached,) = select(connection, _CACHED.format(**words), values)
    return Books(asked, tuple(rows), devices, **cached)


def series(connection: sqlite3.Connection, asked: Asked) -> Series:
    """What the time cost that is asked for, hour by hour or day by day."""
    values, words = _asked(asked)
    rows = select(connection, _SERIES.format(column=_COLUMNS[words["within"]], **words), values)
    parts = [Part(**{**row, "source": list(Source)[row["source"]]}) for row in rows]
    return Series(books(connection, asked), parts)


def _asked(asked: Asked) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The values of a question, and the words of its queries: our own names alone."""
    words = {"key": _KEYS[asked.by], "within": _DAYS if asked.since_s is None else _SINCE, "joules": _JOULES}
    words |= {"worst": _WORST, "others": OTHERS, "most": str(MOST_PARTS)}
    return {"since": asked.since, "until": asked.until, "since_s": asked.since_s}, words


def hours(connection: sqlite3.Connection, since_s: float) -> EnergyHours:
    """What was spent since then, hour by hour, and the modes of that time."""
    rows = select(connection, _HOURS, {"since": since_s})
    costs = tuple(HourCost(**{**row, "source": list(Source)[row["source"]]}) for row in rows)
    changes = select(connection, _CHANGES, [since_s, MOST_CHANGES])[::-1]
    return EnergyHours(since_s, costs, tuple(ModeChange(**row) for row in changes))


def habits(connection: sqlite3.Connection, since: str, today: str, hour: int) -> Habits:
    """When each model was first asked for in an hour of the days from one to another, the latter not included."""
    values = {"since": since, "today": today, "hour": f"{hour:02}", "own": OWN_PROGRAM}
    first_s: dict[str, list[float]] = {}
    for row in select(connection, _HABITS, values):
        first_s.setdefault(row["model"], []).append(row["first_s"])
    (used,) = select(connection, _USED_DAYS, values)
    return Habits(used["days"], first_s)


def recent(connection: sqlite3.Connection, limit: int) -> Sequence[Values]:
    """The last attempts, the oldest first."""
    return select(connection, _RECENT, [limit])[::-1]


def since(connection: sqlite3.Connection, table: str, day: str) -> list[Values]:
    """The rows of a table from a day on, the oldest first."""
    return select(connection, f"SELECT * FROM {table} WHERE day >= ? ORDER BY id", [day])  # noqa: S608 - our own names


def select(connection: sqlite3.Connection, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Values]:
    """The rows that a query finds, each by its columns."""
    return [dict(row) for row in connection.execute(query, values)]


def _cost(row: Values, saved: Mapping[str, Values], by: By) -> Cost:
    of_requests = saved.get(row["key"], {"saved_j": 0.0, "compared": 0})
    counts: Values = {name: int(row[name]) for name in ("prompt_tokens", "completion_tokens")}
    return Cost(
        **{**row, **counts, "known_by": row["known_by"] if by is By.APP else None},
        saved_j=of_requests["saved_j"],
        compared=of_requests["compared"],
    )
