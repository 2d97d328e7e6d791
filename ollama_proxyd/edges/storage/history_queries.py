"""What is asked of the history."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.energy_books import Asked, Books, By, Cost, DeviceCost, shortened
from ollama_proxyd.core.energy_hours import MOST_CHANGES, SECONDS_PER_HOUR, EnergyHours, HourCost, ModeChange
from ollama_proxyd.core.history import Values

_KEYS: Final[Mapping[By, str]] = {
    By.APP: "program",
    By.MODEL: "model",
    By.BACKEND: "backend",
    By.DAY: "day",
    By.MODE: "coalesce(effective_mode, '')",
}
_JOULES: Final = "(prefill_j + decoding_j + load_j)"
_COSTS: Final = """
    SELECT {key} AS key, max(program_known_by) AS known_by, count(*) AS attempts, sum(result = 'ok') AS answers,
        total(prompt_tokens) AS prompt_tokens, total(completion_tokens) AS completion_tokens,
        total({joules}) AS energy_j, total({joules} * (energy_source = 'measured')) AS measured_j,
        total({joules} * (energy_source = 'attributed')) AS attributed_j,
        total({joules} * (energy_source = 'estimated')) AS estimated_j,
        total({joules} * energy_error) AS error_j
    FROM attempts WHERE day BETWEEN ? AND ? GROUP BY 1 ORDER BY energy_j DESC, 1"""
_SPENT: Final = """
    SELECT {key} AS key, currency, total(spent) AS spent
    FROM attempts WHERE day BETWEEN ? AND ? AND spent > 0 GROUP BY 1, 2"""
_SAVED: Final = """
    SELECT {key} AS key, total(saved_j) AS saved_j, count(saved_j) AS compared
    FROM requests WHERE day BETWEEN ? AND ? AND backend IS NOT NULL GROUP BY 1"""
_DEVICES: Final = """
    SELECT device, account, source, sum(joules) AS energy_j, sum(error_j) AS error_j
    FROM devices WHERE day BETWEEN ? AND ? GROUP BY 1, 2, 3 ORDER BY energy_j DESC"""
_CACHED: Final = """
    SELECT count(*) AS cached, total(saved_j) AS cache_saved_j
    FROM requests WHERE day BETWEEN ? AND ? AND result = 'cached'"""
_HOURS: Final = f"""
    SELECT CAST((unix_s - :since) / {SECONDS_PER_HOUR} AS INTEGER) AS hour, backend, total({_JOULES}) AS energy_j,
        total({_JOULES} * energy_error) AS error_j,
        max(CASE energy_source WHEN 'measured' THEN 0 WHEN 'attributed' THEN 1 ELSE 2 END) AS source
    FROM attempts WHERE unix_s >= :since GROUP BY 1, 2 ORDER BY 1, 2"""  # noqa: S608 - our own names
_CHANGES: Final = """
    SELECT unix_s, mode, effective_mode FROM modes
    WHERE unix_s >= coalesce((SELECT max(unix_s) FROM modes WHERE unix_s < ?), 0) ORDER BY unix_s DESC LIMIT ?"""
_RECENT: Final = "SELECT * FROM attempts ORDER BY id DESC LIMIT ?"


def books(connection: sqlite3.Connection, asked: Asked) -> Books:
    """What the days cost that are asked for."""
    days, key = (asked.since, asked.until), _KEYS[asked.by]
    saved = {row["key"]: row for row in select(connection, _SAVED.format(key=key), days)}
    spent: dict[str, dict[str, float]] = {}
    for row in select(connection, _SPENT.format(key=key), days):
        spent.setdefault(row["key"], {})[row["currency"]] = row["spent"]
    rows = select(connection, _COSTS.format(key=key, joules=_JOULES), days)
    found = [replace(_cost(row, saved, asked.by), spent=spent.get(row["key"], {})) for row in rows]
    if asked.by is By.DAY:
        found.sort(key=lambda row: row.key)
    devices = tuple(DeviceCost(**row) for row in select(connection, _DEVICES, days))
    (cached,) = select(connection, _CACHED, days)
    return Books(asked, shortened(found), devices, **cached)


def hours(connection: sqlite3.Connection, since_s: float) -> EnergyHours:
    """What was spent since then, hour by hour, and the modes of that time."""
    rows = select(connection, _HOURS, {"since": since_s})
    costs = tuple(HourCost(**{**row, "source": list(Source)[row["source"]]}) for row in rows)
    changes = select(connection, _CHANGES, [since_s, MOST_CHANGES])[::-1]
    return EnergyHours(since_s, costs, tuple(ModeChange(**row) for row in changes))


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
