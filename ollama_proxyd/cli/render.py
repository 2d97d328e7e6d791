"""The daemon's answers as text that a tired person can read."""

from collections.abc import Iterable, Sequence
from typing import Any

LIMITS = (
    ("max_power_w", "at most {:g} W"),
    ("max_temp_c", "up to {:g} °C"),
    ("max_fan_percent", "fan up to {:g} %"),
    ("max_concurrency", "{:g} requests at once"),
)
TERMS = ("queue_wait_s", "load_s", "prefill_s", "decode_s", "energy_j", "cost_j")


def mode(answer: Any) -> str:
    """The mode in force, and why."""
    taken = "" if answer["mode"] == answer["effective_mode"] else f" → {answer['effective_mode']}"
    return f"{answer['mode']}{taken}: {answer['reason']}"


def modes(answer: Any) -> str:
    """Every mode with its price of time and its limits; the chosen one is marked."""
    rows = [
        (
            "*" if row["mode"] == answer["mode"] else "",
            row["mode"],
            f"{row['price_of_time_w']:g} W" if row["mode"] != "Auto" else "",
            _limits(row),
            row["description"],
        )
        for row in answer["modes"]
    ]
    return table(("", "mode", "a second is worth", "limits", ""), rows)


def backends(answer: Any) -> str:
    """Each backend in a line."""
    rows = [
        (
            each["id"],
            each["hardware"],
            _state(each),
            "unknown" if each["power_watts"] is None else f"{each['power_watts']:g} W",
            _speed(each),
            f"{each['totals']['requests']} requests, {each['totals']['energy_j']:.0f} J estimated",
            ", ".join(each["models"]),
        )
        for each in answer
    ]
    if not rows:
        return "no backend is configured, and none was found on this machine"
    return table(("backend", "hardware", "state", "power", "speed", "so far", "models"), rows)


def decision(answer: Any) -> str:
    """The candidates with their terms, the others with their reasons."""
    ranked = [
        (each["backend_id"], *(f"{each['terms'][term]:.4g}" for term in TERMS), "; ".join(each["notes"]))
        for each in answer["ranked"]
    ]
    rejected = [f"  {each['backend_id']}: {no['message']}" for each in answer["rejected"] for no in each["rejections"]]
    parts = [answer["reason"], f"mode: {mode(answer | {'reason': answer['mode_reason']})}"]
    if ranked:
        parts.append(table(("backend", *TERMS, ""), ranked))
    if rejected:
        parts.append("\n".join(["not used:", *rejected]))
    return "\n\n".join(parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; columns without any content are left out."""
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    columns = [at for at in range(len(heads)) if any(line[at] for line in lines[1:])]
    widths = {at: max(len(line[at]) for line in lines) for at in columns}
    return "\n".join("  ".join(f"{line[at]:<{widths[at]}}" for at in columns).rstrip() for line in lines)


def _limits(row: Any) -> str:
    return ", ".join(words.format(row[name]) for name, words in LIMITS if row[name] is not None) or "none"


def _state(backend: Any) -> str:
    if backend["health"] != "up":
        return f"{backend['health']}: {backend['reason']}"
    return f"serving {backend['in_flight']}" if backend["in_flight"] else "idle"


def _speed(backend: Any) -> str:
    learned = [each["tokens_per_second"] for each in backend["learned"].values() if each["tokens_per_second"]]
    if learned:
        return f"{max(learned):.3g} tokens/s measured"
    configured = backend["max_tokens_per_second"]
    return "unknown" if configured is None else f"{configured:g} tokens/s configured"
