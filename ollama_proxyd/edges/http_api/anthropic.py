"""The routes of Anthropic's API, and its list of models for clients that send its version header."""

from collections.abc import Sequence

from aiohttp import web

from ollama_proxyd.core.policy.query import query_of
from ollama_proxyd.core.requests import Request
from ollama_proxyd.core.residency import has_in_memory
from ollama_proxyd.core.values import replace
from ollama_proxyd.dialects.anthropic import models
from ollama_proxyd.dialects.anthropic.dialect import COUNT, Anthropic
from ollama_proxyd.dialects.anthropic.parse import parse_count
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import FRONTEND, REQUEST_ID, services_of
from ollama_proxyd.edges.http_api.frontends import parsing
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.streaming import answering
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE
from ollama_proxyd.services.large import off_loop

DIALECT = Anthropic()
TOKEN_COUNT = "X-Token-Count"  # noqa: S105 - a header, no secret
"""Whether count_tokens says what an engine counted or what was estimated."""


async def count_tokens(request: web.Request) -> web.Response:
    """How many tokens a request has: counted by an engine that has its model in memory, else estimated."""
    hints = read_hints(request.headers, request[REQUEST_ID], frontend=request.get(FRONTEND))
    body = await read_body(request)
    parse = parsing(request, DIALECT, parse_count, hints)
    asked: Request = await off_loop(len(body), lambda: received(body, parse))
    services = services_of(request)
    services.gateway.check_open()
    query = query_of(replace(asked, max_tokens=None))  # counting writes no answer
    decision = services.gateway.explain(query)
    if not decision.ranked:
        raise services.gateway.refusal(query, decision)
    for ranked in decision.ranked:
        if not services.fleet.has(ranked.backend_id):
            continue  # a reload took it out while another one was asked
        if not has_in_memory(services.fleet.view(ranked.backend_id), ranked.model):
            continue  # a count is not worth loading a model
        counted = await services.fleet.backend(ranked.backend_id).count_tokens(asked, ranked.model)
        if counted is not None:
            return _count(counted, "counted", f"{ranked.backend_id} counted", ranked.backend_id)
    return _count(asked.prompt_tokens, "estimated", "no engine that has the model in memory counts; estimated by size")


def _count(tokens: int, how: str, why: str, backend_id: str | None = None) -> web.Response:
    headers = {"Content-Type": JSON_TYPE, TOKEN_COUNT: how, **routing_headers.unrouted(why, backend_id)}
    return web.Response(body=models.render_count(tokens), headers=headers)


def models_reply(request: web.Request, rows: Sequence[models.ModelRow]) -> web.Response:
    """The list of models, or the page of it that the client asks for."""
    query = request.query
    body = models.render_list(rows, query.get("limit"), query.get("after_id"), query.get("before_id"))
    return web.Response(body=body, headers={"Content-Type": JSON_TYPE})


INFERENCE = (
    *(web.post(path, answering(DIALECT, parse)) for path, parse in DIALECT.calls.items()),
    web.post(COUNT, count_tokens),
)
ROUTES = INFERENCE
