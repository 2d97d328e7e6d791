"""GET /metrics: what requests cost, counted as they end, and the state of the fleet at the moment of asking."""

from collections.abc import AsyncGenerator
from functools import partial

from aiohttp import hdrs, web

from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.counters import Counters
from ollama_proxyd.edges.http_api.expect_continue import deferred
from ollama_proxyd.services.bundle import Services

COUNTERS: web.AppKey[Counters] = web.AppKey("counters", Counters)


def add_to(app: web.Application, services: Services) -> None:
    """Serve the metrics of the services."""
    app[COUNTERS] = Counters()
    app.cleanup_ctx.append(partial(_follow, services, app[COUNTERS]))
    app.add_routes(deferred((web.get("/metrics", show_metrics),)))


async def show_metrics(request: web.Request) -> web.Response:
    """All metrics, in the text format that the scraper asks for."""
    from ollama_proxyd.edges.http_api.exposition import (  # noqa: PLC0415 - memory that a daemon without scrapers spares
        Counted,
        StatusGauges,
        expose,
    )

    gauges = StatusGauges(services_of(request), request.app[BODIES].held_bytes)
    body, content_type = expose(request.headers.get(hdrs.ACCEPT, ""), gauges, Counted(request.app[COUNTERS]))
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


async def _follow(services: Services, counters: Counters, app: web.Application) -> AsyncGenerator[None, None]:
    """Count what the ledger tells while the server runs."""
    stops = (
        services.ledger.outcomes.listen(counters.count),
        services.fleet.attempts.listen(counters.count_attempt),
        services.energy.booked.listen(counters.count_energy),
        services.fleet.circuits.opened.listen(counters.count_opened),
        app[BODIES].refused.listen(counters.count_refused_body),
    )
    yield
    for stop in stops:
        stop()
