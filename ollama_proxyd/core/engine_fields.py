"""The engines that the proxy runs, and the memory that they have, as every surface tells them."""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Final

from ollama_proxyd.core.engine_instances import Ended, Instance, Phase
from ollama_proxyd.core.fleet import BackendView, FleetView
from ollama_proxyd.core.memory_budget import Budgets, total
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.saved_prompts import SavedState

MOST_UNFIT: Final = 20


def instance_fields(each: Instance) -> dict[str, Json]:
    """One process."""
    return {
        "backend": each.backend_id,
        "model": each.model,
        "phase": each.phase.value,
        "loaded_percent": each.loaded_percent,
        "memory_bytes": {name: int(amount) for name, amount in each.needs.items()},
        "memory_measured": each.is_measured,
        "in_use": each.users,
        "pid": each.pid,
        "port": each.address.port or None,
        "socket": each.address.socket or None,
        "load_seconds": each.started_s,
    }


def ended_fields(each: Ended) -> dict[str, Json]:
    """Why a process ended that was not meant to, or did not load."""
    told = {"backend": each.backend_id, "model": each.model, "unix": int(each.at_unix_s), "times": each.times}
    return {**told, **reason_fields(each.reason)}


def unusable_fields(fleet: FleetView) -> list[Json]:
    """What looks like a model in the folder of an engine and is none, or can never fit into memory."""
    return [{"backend": each.spec.id, **reason_fields(why)} for each in fleet for why in _unusable(each)]


def _unusable(view: BackendView) -> list[Reason]:
    unfit = [each.unfit for each in view.models if each.unfit is not None]
    return [*view.unusable, *unfit[:MOST_UNFIT]]


def saved_fields(state: SavedState) -> dict[str, Json] | None:
    """The prompts on the disk, with what went wrong last; None where none are kept."""
    if not state.limit_bytes:
        return None
    return {
        "files": state.files,
        "size_bytes": state.size_bytes,
        "limit_bytes": int(state.limit_bytes),
        "saved_tokens_total": state.saved_tokens,
        "read_tokens_total": state.read_tokens,
        **reason_fields(state.trouble),
    }


def memory_fields(instances: Iterable[Instance], budgets: Budgets) -> Iterator[dict[str, Json]]:
    """Each memory: what engines may have, None without a limit, and what they have, about."""
    held = [each.needs for each in instances if each.phase is not Phase.WAITING]
    for name, budget in budgets.items():
        limit, used = int(budget.limit) if isfinite(budget.limit) else None, int(total(held, name))
        if limit is not None or used:
            yield {"memory": name, "limit_bytes": limit, "used_bytes": used}
