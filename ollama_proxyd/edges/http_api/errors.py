"""Turns the one error of the inside into an answer in the words of whoever asked."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.statuses import STATUSES
from ollama_proxyd.dialects.ollama import errors as ollama
from ollama_proxyd.dialects.openai import errors as openai
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.strict_json import JSON_TYPE

STATUS_OF_CODE: Mapping[str | None, int] = MappingProxyType(
    {"unsupported_media_type": 415, "body_timeout": 408, "expectation_failed": 417}
)
"""Where HTTP itself has a status that says more than the kind does."""

RETRY_AFTER_S: Mapping[ErrorKind, float] = MappingProxyType({ErrorKind.UNAVAILABLE: 5.0, ErrorKind.OVERLOADED: 1.0})
"""When to come back, where the error does not say."""

LATEST_RETRY_S = 999_999.0
"""A longer wait than that is no wait but a mistake of whoever told it."""

Render = Callable[[ProxyError], tuple[int, bytes]]


class Voice(NamedTuple):
    """Who tells a client what went wrong, and in which content type."""

    render: Render
    content_type: str = JSON_TYPE


def render_own(error: ProxyError) -> tuple[int, bytes]:
    """An error of the server's own routes: {"error": a sentence, "kind": …, "param": …}."""
    body = {"error": error.message, "kind": error.kind.value}
    if error.param is not None:
        body["param"] = error.param
    return STATUSES[error.kind], msgspec.json.encode(body)


OPENAI = Voice(openai.render_error)
OLLAMA = Voice(ollama.render_error, f"{JSON_TYPE}; charset=utf-8")
OWN = Voice(render_own)


def voice_of(path: str) -> Voice:
    """Who speaks for a path: the dialect that it belongs to, or the server itself."""
    if path.startswith("/v1/"):
        return OPENAI
    return OLLAMA if path.startswith("/api/") else OWN


def error_reply(error: ProxyError, path: str) -> web.Response:
    """The answer that tells a client what went wrong and how its request was routed, if it was."""
    voice = voice_of(path)
    status, body = voice.render(error)
    headers = {"Content-Type": voice.content_type, **_routing(error)}
    retry_after_s = error.retry_after_s
    if retry_after_s is None or not 0 < retry_after_s <= LATEST_RETRY_S:
        retry_after_s = RETRY_AFTER_S.get(error.kind)
    if retry_after_s is not None:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(retry_after_s))
    if error.kind is ErrorKind.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="ollama-proxyd"'
    return web.Response(body=body, status=STATUS_OF_CODE.get(error.code, status), headers=headers)


def _routing(error: ProxyError) -> dict[str, str]:
    if error.decision is not None:
        return routing_headers.routed(error.decision, error.backend_id)
    return routing_headers.unrouted(error.message, error.backend_id)
