"""What was done today, what that took, and what of the day's budget is left."""

from typing import Any

from ollama_proxyd.cli.amounts import count, energy, known, money


def today(now: Any) -> str:
    """The day's sums, its budget where there is one, and what power-saver brought where it was held."""
    return "\n".join([served(now["today"]), *budget(now["budget"]), *_savings(now)])


def served(day: Any) -> str:
    """What was done, and what that took."""
    failed = f", {day['errors']} of them failed" if day["errors"] else ""
    if not day["requests"]:
        return "no requests"
    kept = day.get("cached_answers")
    parts = [
        f"{count(day['requests'], 'request')}{failed}",
        _spent(day),
        money(day["money_spent"]),
        _saved(day),
        f"{kept} given again spared {energy(day['cache_saved_joules'])}" if kept else "",
    ]
    return "; ".join(part for part in parts if part)


def budget(told: Any) -> list[str]:
    """The day's energy budget in a line; nothing where there is no limit."""
    if told is None or told["limit_watt_hours"] is None:
        return []
    spent = f"{told['spent_watt_hours']:.3g}" if told["spent_watt_hours"] >= 0.001 else "0"
    why = [each for each in (told["reason"], (told["incomplete"] or {}).get("reason")) if each]
    return ["; ".join([f"{spent} of {told['limit_watt_hours']:g} Wh of the day's budget", *why])]


def _spent(day: Any) -> str:
    """What answers took, and what models drew that lay unused in memory."""
    took = f"{energy(day['energy_joules'])}, {_known(day, 'energy')}"
    if not day["idle_tail_joules"]:
        return took
    return f"{took}; {energy(day['idle_tail_joules'])} for models kept in memory, {_known(day, 'idle_tail')}"


def _known(day: Any, what: str) -> str:
    return known(day[f"{what}_source"], day[f"{what}_joules"], day[f"{what}_error_joules"])


def _saved(day: Any) -> str:
    """Compared with the mode Performance; nothing where nothing was compared."""
    saved_j, compared = day.get("saved_joules"), day.get("compared")
    if saved_j is None or not compared:
        return ""
    over = "" if compared == day["requests"] else f", over {count(compared, 'request')}"
    return f"{difference(saved_j, 'saved against Performance', 'more than under Performance')}{over}"


def difference(saved_j: float, less: str, more: str) -> str:
    """What was saved or spent more; nothing is a word too."""
    if round(saved_j, 2) == 0:
        return f"nothing {less}"
    return f"{energy(abs(saved_j))} {less if saved_j > 0 else more}"


def _savings(now: Any) -> list[str]:
    """What the daemon's own levers brought since it started, a line each; nothing of one that was not used."""
    saver, unloading, lines = now["power_saver"], now["unloading"], []
    held = ["held now"] if saver["held"] else []
    if saver["answers"]:
        brought = difference(saver["saved_joules"], "saved", "more than under balanced")
        held.append(f"{brought} by {count(saver['answers'], 'answer')} since the start, measured")
    if held:
        lines.append(f"power-saver: {'; '.join(held)}")
    if unloading["models"]:
        brought = difference(unloading["saved_joules"], "saved", "more than left in memory")
        lines.append(f"unloading: {brought} by {count(unloading['models'], 'model')} since the start, estimated")
    return lines
