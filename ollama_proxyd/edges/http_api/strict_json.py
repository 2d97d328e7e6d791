"""JSON of the server's own routes: bodies read strictly, and replies."""

from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fields import check_keys
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import decode_object, in_words
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.plumbing.surface_json import surface_json

JSON_TYPE = "application/json"

S = TypeVar("S", bound=msgspec.Struct)


async def read_object(request: web.Request) -> dict[str, Json]:
    """The body, which is to be one JSON object."""
    return received(await read_body(request), decode_object)


async def read_struct(request: web.Request, kind: type[S]) -> S:
    """The body as a struct; ProxyError names the key that is unknown, missing or of the wrong type."""
    values = await read_object(request)
    check_keys(values, kind.__struct_fields__)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        name = path.rstrip("`").lstrip(".")
        raise ProxyError(
            ErrorKind.INVALID_REQUEST, f"{name or 'body'}: {in_words(problem)}", param=name or None
        ) from None


def json_reply(value: Json, status: int = HTTPStatus.OK) -> web.Response:
    """A value as a JSON answer."""
    return web.Response(body=surface_json(value), status=status, headers={"Content-Type": JSON_TYPE})
