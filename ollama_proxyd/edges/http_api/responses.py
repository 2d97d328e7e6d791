"""The routes of the Responses API."""

import msgspec
from aiohttp import web

from ollama_proxyd.dialects.framing.jsonbody import invalid_request
from ollama_proxyd.dialects.openai.responses.compact import COMPACT_PATH, Compaction
from ollama_proxyd.dialects.openai.responses.dialect import PATH, Responses
from ollama_proxyd.dialects.openai.responses.items import render_items
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.frontends import kept_of
from ollama_proxyd.edges.http_api.streaming import answering
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE

_ONE = f"{PATH}/{{id:[^/]+}}"


async def create(request: web.Request) -> web.StreamResponse:
    """A response, streamed or whole."""
    dialect = Responses(kept_of(request))
    return await answering(dialect, dialect.parse)(request)


async def compact(request: web.Request) -> web.StreamResponse:
    """The user's messages, and a summary of all the rest."""
    dialect = Compaction(kept_of(request))
    return await answering(dialect, dialect.parse)(request)


async def retrieve(request: web.Request) -> web.Response:
    """A response that is kept."""
    if request.query.get("stream", "false").lower() == "true":
        raise invalid_request("kept responses are not streamed again; ask without stream", "stream")
    return _json(kept_of(request).find(request.match_info["id"]).response)


async def list_input_items(request: web.Request) -> web.Response:
    """What went into a response."""
    return _json(render_items(kept_of(request).find(request.match_info["id"]), request.query))


async def delete(request: web.Request) -> web.Response:
    """Let go of a response."""
    response_id = request.match_info["id"]
    kept_of(request).forget(response_id)
    return _json(msgspec.json.encode({"id": response_id, "object": "response", "deleted": True}))


async def cancel(request: web.Request) -> web.Response:
    """Only responses in the background can be cancelled, and there are none; clients of others hang up."""
    await read_body(request)
    kept_of(request).find(request.match_info["id"])
    raise invalid_request("Cannot cancel a synchronous response; close its connection instead")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": JSON_TYPE})


INFERENCE = tuple(
    web.post(each, answer)
    for path, answer in ((PATH, create), (COMPACT_PATH, compact))
    for each in (path, path.removeprefix("/v1"))
)
ROUTES = (
    *INFERENCE,
    web.get(_ONE, retrieve),
    web.delete(_ONE, delete),
    web.get(f"{_ONE}/input_items", list_input_items),
    web.post(f"{_ONE}/cancel", cancel),
)
