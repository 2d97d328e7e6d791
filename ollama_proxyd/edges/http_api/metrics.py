"""GET /metrics: what requests cost, counted as they end, and the state of the fleet at the moment of asking."""

import re
from collections.abc import AsyncGenerator
from functools import partial

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from ollama_proxyd.edges.http_api.counters import Counters
from ollama_proxyd.edges.http_api.expect_continue import deferred
from ollama_proxyd.edges.http_api.gauges import FleetGauges
from ollama_proxyd.services.bundle import Services

_ODD_VERSION = re.compile(r"version=(?!\d{1,3}(\.\d{1,3}){0,2}\s*([;,]|$))", re.ASCII)
"""A version that is none: the library that writes the formats compares them as numbers."""

REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)


def add_to(app: web.Application, services: Services) -> None:
    """Serve the metrics of the services."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(FleetGauges(services))
    app[REGISTRY] = registry
    app.cleanup_ctx.append(partial(_follow, services, Counters(registry)))
    app.add_routes(deferred((web.get("/metrics", show_metrics),)))


async def show_metrics(request: web.Request) -> web.Response:
    """All metrics, in the text format that the scraper asks for."""
    wanted = request.headers.get(hdrs.ACCEPT, "")
    encode, content_type = choose_encoder("" if _ODD_VERSION.search(wanted) else wanted)
    return web.Response(body=encode(request.app[REGISTRY]), headers={"Content-Type": content_type})


async def _follow(services: Services, counters: Counters, _app: web.Application) -> AsyncGenerator[None, None]:
    """Count what the ledger tells while the server runs."""
    stops = services.ledger.outcomes.listen(counters.count), services.fleet.attempts.listen(counters.count_attempt)
    yield
    for stop in stops:
        stop()
