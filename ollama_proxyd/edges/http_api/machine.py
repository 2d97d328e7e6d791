"""GET /machine: what this machine is made of, and what its devices say now."""

from aiohttp import web

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.topology import Topology
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.status_json import fields_json, thermal_json
from ollama_proxyd.edges.http_api.strict_json import json_reply


async def machine(request: web.Request) -> web.Response:
    """The processor's cores, instructions and caches, the memory, and each device as it was read last."""
    services = services_of(request)
    told = thermal_json(services.system.value, services.fleet.views.value)
    devices = told.pop("devices")
    del told["status"]
    return json_reply({"cpu": cpu_json(services.topology()), "devices": devices, "system": told})


def cpu_json(topology: Topology) -> dict[str, Json]:
    """The processor and the memory."""
    caches = [each._asdict() for each in topology.caches]
    return {**fields_json(topology), "caches": caches, "usable_memory_bytes": topology.usable_memory_bytes}


ROUTES = (web.get("/machine", machine),)
