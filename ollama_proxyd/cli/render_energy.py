"""The energy books as a table: who used how much, in watt-hours and in percent of this battery."""

from collections.abc import Sequence
from typing import Any

from ollama_proxyd.cli.render import JOULES_PER_WH, number, table
from ollama_proxyd.cli.render_budget import budget

SOURCES = ("measured", "attributed", "estimated")
SHOWN_ROWS = 20


def energy(books: Any) -> str:
    """The whole answer."""
    parts = [_span(books), _rows(books), *_notes(books)]
    return "\n\n".join(part for part in parts if part)


def watt_hours(joules: float) -> str:
    """An amount in watt-hours, with as many digits as mean something."""
    wh = joules / JOULES_PER_WH
    return f"{number(wh)} Wh" if abs(wh) >= 0.01 or not wh else f"{wh * 1000:.2g} mWh"


def _span(books: Any) -> str:
    since, until, by = books["since"], books["until"], books["by"]
    return f"energy of {since if since == until else f'{since} to {until}'}, by {by}"


def _rows(books: Any) -> str:
    if not books["rows"] and not books["idle_tail_joules"]:
        return "no answer was given in this time"
    rows = [_row(each, _name(each, books["by"])) for each in books["rows"][:SHOWN_ROWS]]
    if rest := books["rows"][SHOWN_ROWS:]:
        rows.append((f"{len(rest)} more", watt_hours(sum(each["energy_joules"] for each in rest)), "", "", "", ""))
    full_j = books["battery_joules"]
    tail_j, day_j = books["idle_tail_joules"], books["day_joules"]
    if tail_j:
        rows.append(("idle, models in memory", watt_hours(tail_j), _percent(tail_j, full_j), "", "", ""))
    rows.append(("together", watt_hours(day_j), _percent(day_j, full_j), *_row(books["total"], "")[3:]))
    return table((books["by"], "energy", "battery", "answers", "tokens", "known"), rows, numbers_from=1)


def _row(each: Any, name: str) -> tuple[str, ...]:
    share = each["battery_percent"]
    return (
        name,
        watt_hours(each["energy_joules"]),
        "" if share is None else _shown(share),
        str(each["answers"]),
        number(each["prompt_tokens"] + each["completion_tokens"]),
        _known(each),
    )


def _name(each: Any, by: str) -> str:
    if not each["key"]:
        return "not known"
    return f"{each['key']}, by its own word" if by == "app" and each["known_by"] == "guess" else str(each["key"])


def _known(each: Any) -> str:
    """Where the figure comes from, and how far it may be wrong."""
    parts = [source for source in SOURCES if each[f"{source}_joules"]]
    error_j, energy_j = each["error_joules"], each["energy_joules"]
    error = "" if error_j is None or not energy_j else f" ±{100 * error_j / energy_j:.0f} %"
    return f"{' and '.join(parts)}{error}" if parts else ""


def _percent(joules: float, full_j: float | None) -> str:
    return "" if full_j is None else _shown(100 * joules / full_j)


def _shown(percent: float) -> str:
    return "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def _notes(books: Any) -> Sequence[str]:
    """What is to be said below the table."""
    saved_j, compared = books["total"]["saved_joules"], books["total"]["compared"]
    notes = []
    if saved_j is not None:
        sign = "+" if saved_j > 0 else ""
        notes.append(f"saved against Performance: {sign}{watt_hours(saved_j)}, over {compared} requests, estimated")
    if books["cached_answers"]:
        cached = f"{books['cached_answers']} answers from the cache"
        notes.append(f"saved by {cached}: {watt_hours(books['cache_saved_joules'])}, as they had cost")
    if (why := books["unknown"].get("battery_percent")) is not None:
        notes.append(f"percent of the battery: unknown: {why['reason']}")
    if books["history"]["reason"] is not None:
        notes.append(str(books["history"]["reason"]))
    return ["\n".join([*notes, *budget(books.get("budget"))])]
