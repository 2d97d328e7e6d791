"""Models in memory: the engines that the proxy runs, their part of `GET /status`, and stopping one."""

from math import isfinite
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from ollama_proxyd.core.engine_fields import (
    ended_fields,
    instance_fields,
    memory_fields,
    saved_fields,
    unusable_fields,
)
from ollama_proxyd.core.engine_instances import Phase
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api import model_loads
from ollama_proxyd.edges.http_api.access import check_manager
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct
from ollama_proxyd.services.bundle import Services

if TYPE_CHECKING:  # loaded only where engines are configured
    from ollama_proxyd.services.engines.pool import EnginePool


_MB = 2**20


class EngineChoice(msgspec.Struct):
    """The body that stops an engine: the one of a model, or all of a backend."""

    backend: str
    model: str | None = None


def engines_json(services: Services) -> dict[str, Json]:
    """What runs, what waits, and what ended unasked; modeld's keys are 0 where the proxy runs nothing."""
    pool = services.pool()
    instances = () if pool is None else pool.instances
    memory = [] if pool is None else list(memory_fields(instances, budgets := pool.budgets))
    limits = [] if pool is None else [each.limit for each in budgets.values() if isfinite(each.limit)]
    margin = 0.0 if pool is None else pool.room.settings.margin_gb * 10**9
    held = [each.needs for each in instances if each.phase is not Phase.WAITING]
    return {
        "engines": [instance_fields(each) for each in instances],
        "engines_ended": [] if pool is None else [ended_fields(each) for each in pool.ends],
        "models_unusable": unusable_fields(services.fleet.views.value),
        "engine_processes": None if pool is None or (way := pool.starter.way) is None else reason_fields(way),
        "engine_addresses": None if pool is None or (at := pool.starter.listening) is None else reason_fields(at),
        "saved_prompts": None if pool is None else saved_fields(pool.starter.prompts.state),
        "memory": memory,
        "budget_mb": int(sum(limits)) // _MB,
        "used_est_mb": int(sum(sum(each.values()) for each in held)) // _MB,
        "margin_mb": int(margin) // _MB,
        "loads_total": 0 if pool is None else pool.loads,
        "evictions_total": 0 if pool is None else pool.evictions,
        "warmups_in_progress": sum(each.phase is Phase.LOADING for each in instances),
        "draining_count": sum(each.phase is Phase.DRAINING for each in instances),
    }


async def stop(request: web.Request) -> web.Response:
    """End the engine of a model, or all of a backend, once their requests have ended; the next request starts one."""
    check_manager(request)
    choice = await read_struct(request, EngineChoice)
    services = services_of(request)
    pool = pool_of(request, choice.backend)
    chosen = [
        each.model
        for each in pool.instances
        if each.backend_id == choice.backend and choice.model in {None, each.model} and each.phase is not Phase.GONE
    ]
    if choice.model is not None and not chosen:
        raise no_engine(choice.backend, choice.model, "runs")
    for model in chosen:
        await pool.stop(choice.backend, model, drains=True)
        services.fleet.note_unloaded(choice.backend, model)
    return json_reply({"backend": choice.backend, "stopped": list(dict.fromkeys(chosen))})


def pool_of(request: web.Request, backend_id: str) -> "EnginePool":
    """What runs the engines of a backend; raises ProxyError for one that others run."""
    services = services_of(request)
    pool = services.pool()
    ours = [view.spec.id for view in services.fleet.views.value if view.spec.engine is not None]
    if pool is None or backend_id not in ours:
        there_are = f"there are: {', '.join(ours)}" if ours else "name a program in engines of the configuration"
        message = f"{backend_id[:100]!r} is no engine that the proxy runs; {there_are}"
        raise ProxyError(ErrorKind.BACKEND_NOT_FOUND, message, param="backend")
    return pool


def no_engine(backend_id: str, model: str, what: str) -> ProxyError:
    """For a model that none runs, or has run, for."""
    message = f"no engine of {backend_id} {what} for {model[:100]!r}; see ollama-proxyctl engines"
    return ProxyError(ErrorKind.MODEL_NOT_FOUND, message, param="model")


ROUTES = (*model_loads.ROUTES, web.post("/engines/stop", stop))
