"""POST /routing/explain: where a request would go, with every term, under this or an imagined state of the machine."""

from typing import Annotated, Any, TypeAlias

import msgspec
from aiohttp import web
from msgspec import Meta

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.modes import Mode, parse_mode
from ollama_proxyd.core.policy.picture import picture
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Hints, Json, Operation
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import SETTINGS, services_of
from ollama_proxyd.edges.http_api.hints import ROWS, read_hint
from ollama_proxyd.edges.http_api.imagined import imagine
from ollama_proxyd.edges.http_api.reply import json_reply
from ollama_proxyd.edges.http_api.strict_json import check_keys, read_struct

Tokens: TypeAlias = Annotated[int, Meta(ge=0, le=10**9)]


class Question(msgspec.Struct):
    """What a dry run asks; without a model it is about any."""

    model: str | None = None
    prompt_tokens: Tokens = 0
    max_tokens: Tokens | None = None
    operation: Operation = Operation.CHAT
    needs_vision: bool = False
    mode: str | None = None
    hints: dict[str, Json] = {}
    system: dict[str, Json] | None = None


async def explain(request: web.Request) -> web.Response:
    """The decision for a question; nothing is changed and no backend is asked."""
    question = read_struct(await read_body(request, request.app[SETTINGS].value.max_body_bytes), Question)
    query = Query(
        model=question.model,
        operation=question.operation,
        prompt_tokens=question.prompt_tokens,
        max_tokens=question.max_tokens,
        needs_vision=question.needs_vision,
        hints=_hints(question.hints),
    )
    services = services_of(request)
    system = None if question.system is None else imagine(question.system, services.system.value.devices)
    return json_reply(picture(services.gateway.explain(query, _mode(question.mode), system)))


def _mode(name: str | None) -> Mode | None:
    try:
        return None if name is None else parse_mode(name)
    except ValueError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, str(error), param="mode") from None


def _hints(values: dict[str, Json]) -> Hints:
    """Hints by the names of the headers, or by the same names in plain (target_backend, max_power_watts …)."""
    rows = {row.header.lower(): row for row in ROWS} | {_plain(row.header): row for row in ROWS}
    given = {name.lower(): value for name, value in values.items()}
    check_keys(given, rows, "hints")
    found: dict[str, Any] = {}
    for name, value in given.items():
        row = rows[name]
        if row.field in found:
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"hints.{name} is given more than once", param=f"hints.{name}")
        found[row.field] = read_hint(row, _text(value, name), f"hints.{name}")
    return Hints(**found)


def _plain(header: str) -> str:
    return header.removeprefix("X-").replace("-", "_").lower()


def _text(value: Json, name: str) -> str:
    """A hint's value as its header would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ProxyError(ErrorKind.INVALID_REQUEST, f"hints.{name} must be a text, a number or a boolean", param="hints")


ROUTES = (web.post("/routing/explain", explain),)
