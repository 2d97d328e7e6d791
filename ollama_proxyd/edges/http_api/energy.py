"""GET /energy: what the last days cost, by program, model, backend, day or mode; /hours and /series: in steps."""

from aiohttp import web

from ollama_proxyd.core.budget import budget_fields
from ollama_proxyd.core.energy_books import By, books_fields, read_by, read_days
from ollama_proxyd.core.energy_hours import hours_fields
from ollama_proxyd.core.energy_series import Over, read_over, read_part, series_fields
from ollama_proxyd.core.fields import check_keys
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.strict_json import json_reply

DEFAULTS = {"days": "1", "by": By.APP.value}
SERIES = {"over": Over.DAY.value, "by": By.BACKEND.value}


async def energy(request: web.Request) -> web.Response:
    """The books of the last `days`, the present one included."""
    check_keys(request.query, DEFAULTS)
    services, asked = services_of(request), {**DEFAULTS, **request.query}
    books = await services.history.books(read_days(asked["days"]), read_by(asked["by"]))
    told = books_fields(books, services.system.value.battery_full_wh, services.history.store.trouble)
    return json_reply({**told, "budget": budget_fields(services.budget.now)})


async def energy_series(request: web.Request) -> web.Response:
    """The last day by hours or the last thirty by days, and whose each part was."""
    check_keys(request.query, SERIES)
    services, asked = services_of(request), {**SERIES, **request.query}
    series = await services.history.series(read_over(asked["over"]), read_part(asked["by"]))
    return json_reply(series_fields(series, services.system.value.battery_full_wh, services.history.store.trouble))


async def energy_hours(request: web.Request) -> web.Response:
    """The last day, hour by hour."""
    history = services_of(request).history
    return json_reply(hours_fields(await history.hours(), history.store.trouble))


ROUTES = (web.get("/energy", energy), web.get("/energy/series", energy_series), web.get("/energy/hours", energy_hours))
