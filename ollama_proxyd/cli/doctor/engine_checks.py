"""The doctor's judgements of the engines that the proxy runs; only a daemon that runs some knows."""

from collections.abc import Iterator, Sequence
from typing import Any

from ollama_proxyd.cli.brief import halves
from ollama_proxyd.cli.doctor.facts import DoctorFacts
from ollama_proxyd.cli.doctor.findings import Finding, Level
from ollama_proxyd.cli.render_engines import times

MOST_TOLD = 5
"""So many of one kind are named."""
OLLAMAS_HOME = "/usr/share/ollama/"
"""Of the user that Ollama's system service runs as, whose group its installer lets others join."""


def engines(facts: DoctorFacts) -> Finding | None:
    """Whether the engines that the proxy runs stay up and load."""
    told = facts.status or {}
    ended, unusable = told.get("engines_ended") or [], told.get("models_unusable") or []
    if not ended and not unusable:
        return Finding(Level.OK, "those that the proxy started run") if told.get("engines") else None
    says = [f"{halves(each['reason'])[0]}{times(each)}" for each in ended]
    says += [each["reason"] for each in unusable[:MOST_TOLD]]
    logs = [f"see what it wrote: ollama-proxyctl engines log {each['backend']} {each['model']}" for each in ended[:1]]
    return Finding(Level.WARNING, "; ".join(says), "; ".join([*logs, *_of_files(unusable)]))


def _of_files(unusable: Sequence[Any]) -> Iterator[str]:
    """What helps with the first of each kind."""
    by_code = {each["reason_code"]: each["reason_details"].get("path") for each in reversed(unusable)}
    path = by_code.get("models_folder_unreadable")
    if path and path.startswith(OLLAMAS_HOME):
        yield f"join the group that may read {path}, and log in again: sudo usermod --append --groups ollama $USER"
    elif path:
        yield f"let this user read {path}, or name another folder in models_dir: ollama-proxyctl config edit"
    if path := by_code.get("models_elsewhere"):
        yield f"name that folder as the engine's models_dir, or pull into {path}: ollama-proxyctl models pull NAME"
    if path := by_code.get("model_unusable"):
        yield f"replace or remove: {path}"
    if "never_fits" in by_code:
        yield "allow more in memory_budget, or take a smaller model or context: ollama-proxyctl config edit"


def sockets(facts: DoctorFacts) -> Finding | None:
    """Whether engines that the proxy runs are behind sockets of this user alone."""
    told = (facts.status or {}).get("engine_addresses")
    broken = [each for each in facts.sockets if each.trouble]
    if broken:
        says = "; ".join(f"the socket of {each.model}, {each.path}, {each.trouble}" for each in broken[:MOST_TOLD])
        stop = f"ollama-proxyctl engines stop {broken[0].backend} {broken[0].model}"
        return Finding(Level.WARNING, says, f"have it started anew by the next request: {stop}")
    if told is None:
        return None
    level = Level.OK if told["reason_code"] == "engines_behind_sockets" else Level.WARNING
    return Finding(level, *halves(told["reason"]))


def saved_prompts(facts: DoctorFacts) -> Finding | None:
    """Whether prompts of stopped engines are kept, where they are to be."""
    told = (facts.status or {}).get("saved_prompts")
    if told is None:
        return None
    if told["reason"]:
        do = "make room on the disk, or let this user write there; answers go on meanwhile"
        return Finding(Level.WARNING, told["reason"], do)
    return Finding(
        Level.OK, f"{told['files']} on the disk, which hold what was said; saved_prompts.max_gb: null ends it"
    )
