"""The routes of the OpenAI API."""

from datetime import UTC, datetime

from aiohttp import web

from ollama_proxyd.dialects.anthropic.models import render_one as anthropic_one
from ollama_proxyd.dialects.openai import models
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.http_api import anthropic, catalog
from ollama_proxyd.edges.http_api.context import FRONTEND, STARTED_AT, services_of, speaks_anthropic
from ollama_proxyd.edges.http_api.streaming import answering
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE

DIALECT = OpenAI()


async def list_models(request: web.Request) -> web.Response:
    """Every model that can be had."""
    rows = [_row(request, entry) for entry in await catalog.models(services_of(request), request.get(FRONTEND))]
    if speaks_anthropic(request):
        return anthropic.models_reply(request, rows)
    return web.Response(body=models.render_list(rows), headers={"Content-Type": JSON_TYPE})


async def show_model(request: web.Request) -> web.Response:
    """One model."""
    entry = await catalog.find(services_of(request), request.match_info["name"], request.get(FRONTEND))
    render = anthropic_one if speaks_anthropic(request) else models.render_one
    return web.Response(body=render(_row(request, entry)), headers={"Content-Type": JSON_TYPE})


def _row(request: web.Request, entry: catalog.Entry) -> models.ModelRow:
    """OpenAI wants to know when a model was made; without that, since when it is offered."""
    made_at = _unix_s(entry.model.modified_at)
    return entry.model.name, made_at or request.app[STARTED_AT], entry.backends


def _unix_s(moment: str | None) -> int | None:
    """Unix time of an RFC 3339 moment; None where it is none, or before 1970."""
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        seconds = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC).timestamp())
    except (ValueError, OverflowError):  # by its zone it may lie after the year 9999, which Anthropic's form cannot say
        return None
    return seconds if seconds > 0 else None


INFERENCE = tuple(
    web.post(each, answering(DIALECT, parse))
    for path, parse in DIALECT.calls.items()
    for each in (path, path.removeprefix("/v1"))  # llama-server has both, and clients that name only its address
)
ROUTES = (
    *INFERENCE,
    web.get("/v1/models", list_models),
    web.get("/v1/models/{name:.*[^/]}{slashes:/*}", show_model),
)
