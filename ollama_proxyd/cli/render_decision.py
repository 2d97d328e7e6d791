"""A routing decision as a table: every candidate with each term of its cost in joules."""

from typing import Any

from ollama_proxyd.cli.amounts import known, number
from ollama_proxyd.cli.tables import table

HEADS = {
    "prefill_joules": "prompt",
    "decode_joules": "answer",
    "idle_tail_joules": "staying loaded",
    "spared_joules": "- loading spared",
    "energy_joules": "= energy",
    "heat_joules": "+ heat",
    "money_joules": "+ money",
    "noise_joules": "+ noise and heat",
    "other_machine_joules": "+ other machine",
    "delay_joules": "+ delay of others",
    "late_joules": "+ beyond the wait",
    "waiting_joules": "+ waiting",
    "cost_joules": "= cost",
}
"""What a column is called where its term does not say it."""

ADDED = ("heat_joules", "money_joules", "noise_joules", "other_machine_joules", "delay_joules", "late_joules")
"""What cost adds to energy; shown where there is any."""

SUMS = ("energy_joules", *ADDED, "waiting_joules", "cost_joules")
"""The last columns: energy is the sum of the terms before it, cost that of all after them."""


def decision(answer: Any) -> str:
    """The candidates with their terms, the others with their reasons."""
    taken = "" if answer["mode"] == answer["effective_mode"] else f" → {answer['effective_mode']}"
    parts = [_reason(answer), f"mode: {answer['mode']}{taken}: {answer['mode_reason']}"]
    if answer["ranked"]:
        parts.append(_candidates(answer["ranked"]))
    notes = [f"  {each['backend_id']}: {note['reason']}" for each in answer["ranked"] for note in each["notes"]]
    if notes:
        parts.append("\n".join(["notes:", *notes]))
    beyond = [f"  {_named(each, no['reason'])}" for each in answer["ranked"] for no in each["beyond"]]
    if beyond:
        parts.append("\n".join(["beyond the mode, so used only if no other can serve:", *beyond]))
    rejected = [f"  {_named(each, no['reason'])}" for each in answer["rejected"] for no in each["rejections"]]
    if rejected:
        parts.append("\n".join(["not used:", *rejected]))
    return "\n\n".join(parts)


def _reason(answer: Any) -> str:
    """Why; without the rejections of all, which have a list of their own."""
    details = answer["reason_details"]
    if answer["reason_code"] == "model_held_nowhere":
        return f"{answer['reason']}; `ollama-proxyctl backends` shows which models there are"
    if answer["ranked"] or "rejections" not in details:
        return str(answer["reason"])
    advice = f"; {details['advice']}" if "advice" in details else ""
    return f"nothing can serve this{advice}"


def _named(rejected: Any, message: str) -> str:
    """Most messages name their backend; the others get it put before them."""
    name = rejected["backend_id"]
    return message if name in message else f"{name}: {message}"


def _candidates(ranked: Any) -> str:
    found = [_joules(each["terms"]) for each in ranked]
    parts = [name for name in found[0] if name not in SUMS and any(terms[name] for terms in found)]
    sums = [name for name in SUMS if name not in ADDED or any(terms[name] for terms in found)]
    columns = (*parts, *sums)
    rows = [
        (
            each["backend_id"],
            f"{number(each['latency_ms'] / 1000)} s",
            f"{number(each['terms']['time_seconds'])} s",
            *(number(terms[name]) for name in columns),
        )
        for each, terms in zip(ranked, found, strict=True)
    ]
    price = number(ranked[0]["terms"]["price_of_time_watts"])
    heads = ("backend", "begins", "ends", *(_head(name) for name in columns))
    told = known(ranked[0]["energy_source"], ranked[0]["energy_joules"], ranked[0]["energy_error_joules"])
    return (
        f"in joules, {told}; each second until the answer ends counts {price} J\n{table(heads, rows, numbers_from=1)}"
    )


def _joules(terms: Any) -> dict[str, float]:
    """Every term that is an energy, and what waiting adds."""
    joules = {name: value for name, value in terms.items() if name.endswith("_joules")}
    return joules | {"waiting_joules": terms["price_of_time_watts"] * terms["time_seconds"]}


def _head(name: str) -> str:
    return HEADS.get(name) or name.removesuffix("_joules").replace("_", " ")
