"""Answers in JSON from the server itself."""

from http import HTTPStatus

import msgspec
from aiohttp import web

from ollama_proxyd.core.requests import Json

JSON_TYPE = "application/json"


def json_reply(value: Json, status: int = HTTPStatus.OK) -> web.Response:
    """A value as a JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, headers={"Content-Type": JSON_TYPE})
