"""The engines that the proxy runs in D-Bus's words."""

from typing import Any

from dbus_fast import DBusError

from ollama_proxyd.core.engine_fields import (
    ended_fields,
    instance_fields,
    memory_fields,
    saved_fields,
    unusable_fields,
)
from ollama_proxyd.edges.dbus_api.errors import UNKNOWN_BACKEND, invalid
from ollama_proxyd.edges.dbus_api.values import plain_facts
from ollama_proxyd.services.bundle import Services


def engine_properties(services: Services) -> dict[str, Any]:
    """What the object of all backends tells of them; all empty where the proxy runs none."""
    pool = services.pool()
    if pool is None:
        return {"Engines": [], "EnginesEnded": [], "EngineMemory": [], "ModelsUnusable": [], "SavedPrompts": {}}
    instances = pool.instances
    return {
        "ModelsUnusable": [plain_facts(each) for each in unusable_fields(services.fleet.views.value)],
        "Engines": [plain_facts(instance_fields(each)) for each in instances],
        "EnginesEnded": [plain_facts(ended_fields(each)) for each in pool.ends],
        "EngineMemory": [plain_facts(each) for each in memory_fields(instances, pool.budgets)],
        "SavedPrompts": plain_facts(saved_fields(pool.starter.prompts.state) or {}),
    }


async def stop_engine(services: Services, backend_id: str, model: str) -> None:
    """End the engine of a model, once its requests have ended."""
    pool = services.pool()
    ours = [view.spec.id for view in services.fleet.views.value if view.spec.engine is not None]
    if pool is None or backend_id not in ours:
        known = ", ".join(ours) or "none"
        raise DBusError(UNKNOWN_BACKEND, f"the proxy runs no engines of {backend_id!r}; it runs those of: {known}")
    running = [each.model for each in pool.instances if each.backend_id == backend_id]
    if model not in running:
        raise invalid(f"no engine of {backend_id} runs for {model!r}; there are: {', '.join(running) or 'none'}")
    await pool.stop(backend_id, model, drains=True)
    services.fleet.note_unloaded(backend_id, model)
