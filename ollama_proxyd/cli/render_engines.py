"""Engines that the proxy runs, their memory, and models, as text that a person reads."""

from collections.abc import Sequence
from typing import Any

from ollama_proxyd.cli.amounts import number
from ollama_proxyd.cli.brief import brief
from ollama_proxyd.cli.tables import table

_GB = 10**9
ANY_OF = ("engines", "engines_ended", "models_unusable")
"""Of these one at least is told."""


def engines(told: Any) -> str:
    """Each engine in a line, then what ended unasked and why, then the memory."""
    rows = [
        (each["backend"], each["model"], phase(each), _gigabytes(each), _use(each), _process(each))
        for each in told["engines"]
    ]
    running = table(("engine", "model", "state", "memory", "requests", "process"), rows) if rows else "nothing runs"
    unusable = [f"{each['backend']}: {each['reason']}" for each in told["models_unusable"]]
    last = [*memory(told["memory"]), *saved(told["saved_prompts"])]
    return "\n".join([running, *troubles(told["engines_ended"]), *unusable, *last])


def phase(each: Any) -> str:
    """Where a process stands, with how far it is while it loads."""
    percent = each["loaded_percent"]
    return str(each["phase"]) if percent is None else f"{each['phase']}, about {percent} %"


def troubles(ended: Sequence[Any]) -> list[str]:
    """Why engines ended that were not meant to."""
    return [f"{each['backend']}: {each['reason']}{times(each)}" for each in ended]


def memory(all_of_them: Sequence[Any]) -> list[str]:
    """How much of each memory engines have, and may have."""
    return [
        f"memory {each['memory']}: {number(each['used_bytes'] / _GB)} GB of "
        f"{'any amount' if each['limit_bytes'] is None else number(each['limit_bytes'] / _GB) + ' GB'}"
        for each in all_of_them
    ]


def saved(told: Any) -> list[str]:
    """The prompts on the disk, and what went wrong with the last one; nothing where none are kept."""
    if told is None:
        return []
    size = f"{number(told['size_bytes'] / _GB)} GB of {number(told['limit_bytes'] / _GB)} GB"
    tokens = f"{told['saved_tokens_total']} tokens written, {told['read_tokens_total']} read back"
    return [f"prompts on the disk: {told['files']}, {size}; {tokens}", *filter(None, [told["reason"]])]


def loads_of(model: str, status: Any) -> list[dict[str, Any]]:
    """The backends that have a model, each with whether it is in memory, or how far it is."""
    running = {(each["backend"], each["model"]): phase(each) for each in status["engines"]}
    found = []
    for each in status["backends"]:
        own = next((name for name in each["models"] if model in {name, f"{name}:latest"}), None)
        if own is not None:
            is_loaded = None if each["loaded_models"] is None else own in each["loaded_models"]
            state = running.get((each["id"], own)) or {True: "in memory", False: "on disk", None: "not told"}[is_loaded]
            found.append({"id": each["id"], "state": state})
    return found


def table_of_models(all_of_them: Sequence[Any]) -> str:
    """Each model in a line."""
    rows = [
        (
            each["name"],
            f"{number(each['size'] / _GB)} GB" if each.get("size") else "",
            (each.get("details") or {}).get("quantization_level") or "",
            brief(", ".join(f"{at['id']} {at['state']}" for at in each["backends"])),
        )
        for each in all_of_them
    ]
    return table(("model", "size", "weights", "at"), rows) if rows else "no backend has a model"


def _gigabytes(each: Any) -> str:
    how = "" if each["memory_measured"] else "about "
    return ", ".join(f"{name} {how}{number(amount / _GB)} GB" for name, amount in each["memory_bytes"].items())


def _use(each: Any) -> str:
    return str(each["in_use"]) if each["in_use"] else ""


def _process(each: Any) -> str:
    if each["pid"] is None:
        return ""
    return f"{each['pid']}, port {each['port']}" if each["port"] else f"{each['pid']}, socket"


def times(each: Any) -> str:
    """How often in a row, where that is more than once."""
    return f", {each['times']} times in a row" if each["times"] > 1 else ""
