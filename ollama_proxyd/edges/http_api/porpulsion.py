"""Porpulsion's routes about the server and its models, in its shapes."""

from http import HTTPStatus

import msgspec
from aiohttp import web

from ollama_proxyd import __version__
from ollama_proxyd.core.management import Management, holders
from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.core.topology import Topology
from ollama_proxyd.dialects.ollama.models import render_tags
from ollama_proxyd.edges.http_api import catalog
from ollama_proxyd.edges.http_api.access import PEERS, check_host, check_manager, check_sender
from ollama_proxyd.edges.http_api.context import ENDPOINT, REQUEST_ID, services_of, uptime_s
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.management import ask_all, managing, reply
from ollama_proxyd.edges.http_api.ollama import API_LEVEL
from ollama_proxyd.edges.http_api.status_events import EVENT_STREAMS, HEADERS, error_event, wants_events, write
from ollama_proxyd.edges.http_api.streaming import STARTED, Started
from ollama_proxyd.edges.http_api.strict_json import json_reply
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.edges.plumbing.surface_json import surface_json
from ollama_proxyd.services.rates import rates

TICK_S = 1.0
RETRY_MS = 3000
_GB = 10**9
_MB = 2**20
_FLAGS = {
    "has_avx": "AVX", "has_avx2": "AVX2", "has_avx512": "AVX-512F", "has_amx": "AMX", "has_f16c": "F16C",
    "has_fma": "FMA", "has_neon": "NEON", "has_sve": "SVE",
}  # fmt: skip


async def info(request: web.Request) -> web.Response:
    """What serves here: the engines' version, the models, the processor and the memory."""
    services = services_of(request)
    topology = services.topology()
    memory = topology.usable_memory_bytes
    ollama = next((each for each in services.fleet.views.value if each.spec.api is Api.OLLAMA), None)
    return json_reply(
        {
            "version": __version__,
            "ollama_url": request.app[ENDPOINT]() if ollama is None else ollama.spec.endpoint,
            "ollama_version": (ollama and ollama.version) or API_LEVEL,
            "default_model": "",
            "models": [entry.model.name for entry in await catalog.models(services, None)],
            "uptime_seconds": uptime_s(request),
            "ram_gb": None if memory is None else round(memory / _GB, 1),
            "cpu": _cpu(topology),
        }
    )


def _cpu(topology: Topology) -> dict[str, Json]:
    l3_bytes = topology.cache_bytes(3)
    return {
        "model": topology.model,
        "logical_cores": topology.logical_cores,
        "physical_cores": topology.physical_cores,
        "p_cores": topology.performance_cores,
        "e_cores": topology.efficiency_cores,
        "numa_nodes": topology.numa_nodes,
        "l3_cache_mb": l3_bytes / _MB if l3_bytes else None,
        "features": " ".join(topology.simd),
        **{flag: name in topology.simd for flag, name in _FLAGS.items()},
    }


async def metrics(request: web.Request) -> web.StreamResponse:
    """What was served so far, and how fast of late: once, or each second as events where those are asked for."""
    if not wants_events(request):
        return json_reply(_metrics(request))
    listeners = request.app[EVENT_STREAMS]
    with listeners.seat(await request.app[PEERS].process(request.transport)) as news:
        response = Stream(headers=HEADERS)
        await response.prepare(request)
        request[STARTED] = Started(response, error_event)
        await write(request, response, b"retry: %d\n\n" % RETRY_MS)
        number = _after(request.headers.get("Last-Event-ID", ""))
        while not listeners.is_closed:
            check_host(request)
            check_sender(request, needs_token=True)
            told = surface_json(_metrics(request))
            await write(request, response, b": keep-alive\nid: %d\ndata: " % number + told + b"\n\n")
            number += 1
            news.clear()
            await news.wait(0, TICK_S)
        await response.write_eof()
    return response


def _after(last: str) -> int:
    """The number of the next event, where a client says which one it has."""
    return int(last) + 1 if last.isascii() and last.isdecimal() and len(last) < 16 else 1


def _metrics(request: web.Request) -> dict[str, Json]:
    services = services_of(request)
    now = rates(services.ledger, services.clock.unix())
    return {
        "total_requests": services.ledger.overall.requests,
        "active_requests": services.gateway.in_flight,
        "tokens_generated": sum(each.completion_tokens for each in services.ledger.by_backend.values()),
        "tokens_per_second": round(now.tokens_per_s, 2),
        "avg_ttft_ms": _ms(now.ttft_s),
        "avg_tpot_ms": _ms(now.token_s),
        "uptime_seconds": uptime_s(request),
        "window_requests": now.answers,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)


async def models(request: web.Request) -> web.Response:
    """Every model that can be had, as a list."""
    told = msgspec.json.decode(render_tags(await catalog.models(services_of(request), None)))
    return json_reply(told["models"])


async def delete(request: web.Request) -> web.Response:
    """Delete a model at each backend that holds it."""
    check_manager(request)
    services = services_of(request)
    services.gateway.check_open()
    await services.health.catch_up(0.0)
    name, hints = request.match_info["name"], read_hints(request.headers, request[REQUEST_ID])
    places = holders(managing(services), name, hints.target)
    asked = Management("DELETE", "/api/delete", msgspec.json.encode({"model": name}))
    with services.gateway.busy():
        try:
            answer = reply(await ask_all(services, asked, places.backend_ids), places)
        finally:
            await services.health.catch_up(0.0)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answer
    return web.Response(status=HTTPStatus.NO_CONTENT)


ROUTES = (
    web.get("/api/info", info),
    web.get("/api/metrics", metrics, allow_head=False),
    web.get("/api/models", models),
    web.delete("/api/models/{name:.+}", delete),
)
