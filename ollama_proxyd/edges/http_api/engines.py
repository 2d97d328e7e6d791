"""The engines that the proxy runs, as `GET /status` tells them: each process, and modeld's numbers of memory."""

from math import isfinite
from typing import TYPE_CHECKING

from ollama_proxyd.core.engine_instances import Ended, Instance, Phase
from ollama_proxyd.core.memory_budget import Budgets, total
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json

if TYPE_CHECKING:  # loaded only where engines are configured
    from ollama_proxyd.services.engines.pool import EnginePool


_MB = 2**20


def engines_json(pool: "EnginePool | None") -> dict[str, Json]:
    """What runs, what waits, and what ended unasked; modeld's keys are 0 where the proxy runs nothing."""
    instances = () if pool is None else pool.instances
    budgets: Budgets = {} if pool is None else pool.budgets
    margin = 0.0 if pool is None else pool.room.settings.margin_gb * 10**9
    held = [each.needs for each in instances if each.phase is not Phase.WAITING]
    limits = [budget.limit for budget in budgets.values() if isfinite(budget.limit)]
    return {
        "engines": [_instance(each) for each in instances],
        "engines_ended": [] if pool is None else [_ended(each) for each in pool.ends],
        "engine_processes": None if pool is None or pool.way is None else reason_fields(pool.way),
        "memory": [
            {
                "memory": name,
                "limit_bytes": int(budget.limit) if isfinite(budget.limit) else None,
                "used_bytes": int(total(held, name)),
            }
            for name, budget in budgets.items()
        ],
        "budget_mb": int(sum(limits)) // _MB,
        "used_est_mb": int(sum(sum(each.values()) for each in held)) // _MB,
        "margin_mb": int(margin) // _MB,
        "loads_total": 0 if pool is None else pool.loads,
        "evictions_total": 0 if pool is None else pool.evictions,
        "warmups_in_progress": sum(each.phase is Phase.LOADING for each in instances),
        "draining_count": sum(each.phase is Phase.DRAINING for each in instances),
    }


def _instance(each: Instance) -> dict[str, Json]:
    return {
        "backend": each.backend_id,
        "model": each.model,
        "phase": each.phase.value,
        "memory_bytes": {name: int(amount) for name, amount in each.needs.items()},
        "memory_measured": each.is_measured,
        "in_use": each.users,
        "pid": each.pid,
        "port": each.port,
        "load_seconds": each.started_s,
    }


def _ended(each: Ended) -> dict[str, Json]:
    told = {"backend": each.backend_id, "model": each.model, "unix": int(each.at_unix_s), "times": each.times}
    return {**told, **reason_fields(each.reason)}
