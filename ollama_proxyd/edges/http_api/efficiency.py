"""The efficiency mode over HTTP: choose it, hold it while an answer stays open, change Auto's settings."""

from dataclasses import asdict
from typing import Annotated, TypeAlias

import msgspec
from aiohttp import web
from msgspec import Meta

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.holds import HOLD, LONGEST_TEXT
from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.access import PEERS
from ollama_proxyd.edges.http_api.configuration import configuration
from ollama_proxyd.edges.http_api.context import SERVICES, services_of
from ollama_proxyd.edges.http_api.hints import new_id
from ollama_proxyd.edges.http_api.status_json import efficiency_json, hold_json
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_object, read_struct
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.edges.plumbing.surface_json import surface_json
from ollama_proxyd.services.runtime_settings import RuntimeSettings

HEADERS = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
OWNER = "http:"
"""How the owners of these holds begin, unlike those on the bus."""
Text: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]


class ModeChoice(msgspec.Struct):
    """The body that selects a mode."""

    mode: str


class HoldRequest(msgspec.Struct):
    """The body that holds a mode."""

    mode: str
    reason: Text = ""
    application_id: Text = ""
    seconds: float | None = None


async def efficiency(request: web.Request) -> web.Response:
    """The mode in force, its holds, and the table of modes."""
    return json_reply(_efficiency(request))


async def select(request: web.Request) -> web.Response:
    """Put a mode in force for the next request on, and keep it over restarts."""
    choice = await read_struct(request, ModeChoice)
    services_of(request).governor.select(_mode(choice.mode))
    await services_of(request).store.written()
    return json_reply(_efficiency(request))


async def hold(request: web.Request) -> web.StreamResponse:
    """Hold a mode while the answer stays open; its one line says that the hold is in force."""
    wanted = await read_struct(request, HoldRequest)
    process = await request.app[PEERS].process(request.transport)
    governor, owner = services_of(request).governor, f"{OWNER}{process}{HOLD}{new_id()}"
    held = governor.hold(_mode(wanted.mode), wanted.reason, wanted.application_id, owner, wanted.seconds)
    try:
        response = Stream(headers=HEADERS)
        await response.prepare(request)
        await response.write(surface_json({"cookie": held.cookie, **hold_json(held)}) + b"\n")
        async for holds in governor.holds.changes():
            if held not in holds:
                break
        await response.write_eof()
    finally:
        governor.release_all(owner)
    return response


async def end_holds(app: web.Application) -> None:
    """End the open answers of holds, so that a server that stops need not wait for them."""
    governor = app[SERVICES].governor
    for each in governor.holds.value:
        if each.owner.startswith(OWNER):
            governor.release_all(each.owner)


async def settings(request: web.Request) -> web.Response:
    """Auto's settings, and which of them differ from the configuration."""
    return json_reply(_settings(services_of(request).settings))


async def change_settings(request: web.Request) -> web.Response:
    """Change some settings, all or none; null goes back to the configuration's value."""
    changes = await read_object(request)
    settings = services_of(request).settings
    settings.change(changes)
    await services_of(request).store.written()
    return json_reply(_settings(settings))


def _mode(name: str) -> Mode:
    try:
        return parse_mode(name)
    except ValueError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, str(error), param="mode") from None


def _efficiency(request: web.Request) -> Json:
    governor = services_of(request).governor
    return efficiency_json(governor.setting.value, governor.table, governor.holds.value)


def _settings(settings: RuntimeSettings) -> Json:
    told = {"settings": asdict(settings.tuning.value), "configured": asdict(settings.configured)}
    return {**told, "changed": list(settings.changed)}


ROUTES = (
    web.get("/efficiency", efficiency),
    web.post("/efficiency", select),
    web.post("/efficiency/hold", hold),
    web.get("/settings", settings),
    web.post("/settings", change_settings),
    web.get("/configuration", configuration),
)
