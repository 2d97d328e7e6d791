"""The energy books as a table: who used how much, in watt-hours and in percent of this battery."""

from collections.abc import Sequence
from typing import Any

from ollama_proxyd.cli.amounts import count, energy, known, money, number
from ollama_proxyd.cli.render_today import budget, difference
from ollama_proxyd.cli.tables import table

SOURCES = ("measured", "attributed", "estimated")
SHOWN_ROWS = 20


def books(told: Any) -> str:
    """The whole answer."""
    parts = [_span(told), _rows(told), *_notes(told)]
    return "\n\n".join(part for part in parts if part)


def _span(told: Any) -> str:
    since, until, by = told["since"], told["until"], told["by"]
    return f"energy of {since if since == until else f'{since} to {until}'}, by {by}"


def _rows(told: Any) -> str:
    if not told["rows"] and not told["idle_tail_joules"]:
        return "no answer was given in this time"
    rows = [_row(each, _name(each, told["by"])) for each in told["rows"][:SHOWN_ROWS]]
    if rest := told["rows"][SHOWN_ROWS:]:
        rows.append((f"{len(rest)} more", energy(sum(each["energy_joules"] for each in rest)), "", "", "", "", ""))
    full_j, tail_j, day_j = told["battery_joules"], told["idle_tail_joules"], told["day_joules"]
    if tail_j:
        tail = known(told["idle_tail_source"], tail_j, told["idle_tail_error_joules"])
        rows.append(("idle, models in memory", energy(tail_j), _percent(tail_j, full_j), "", "", "", tail))
    day = known(told["day_source"], day_j, told["day_error_joules"])
    rows.append(("together", energy(day_j), _percent(day_j, full_j), *_row(told["total"], "")[3:-1], day))
    return table((told["by"], "energy", "battery", "money", "answers", "tokens", "known"), rows, numbers_from=1)


def _row(each: Any, name: str) -> tuple[str, ...]:
    share = each["battery_percent"]
    return (
        name,
        energy(each["energy_joules"]),
        "" if share is None else _shown(share),
        money(each["money_spent"]),
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
    parts = " and ".join(source for source in SOURCES if each[f"{source}_joules"])
    return known(parts, each["energy_joules"], each["error_joules"])


def _percent(joules: float, full_j: float | None) -> str:
    return "" if full_j is None else _shown(100 * joules / full_j)


def _shown(percent: float) -> str:
    return "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def _notes(told: Any) -> Sequence[str]:
    """What is to be said below the table."""
    saved_j, compared = told["total"]["saved_joules"], told["total"]["compared"]
    notes = []
    if saved_j is not None:
        saved = difference(saved_j, "saved against Performance", "more than under Performance")
        notes.append(f"{saved}, over {count(compared, 'request')}, estimated")
    if told["cached_answers"]:
        cached = f"{count(told['cached_answers'], 'answer')} from the cache"
        notes.append(f"saved by {cached}: {energy(told['cache_saved_joules'])}, as they had cost")
    if (why := told["unknown"].get("battery_percent")) is not None:
        notes.append(f"percent of the battery: unknown: {why['reason']}")
    if told["history"]["reason"] is not None:
        notes.append(str(told["history"]["reason"]))
    return ["\n".join([*notes, *budget(told.get("budget"))])]
