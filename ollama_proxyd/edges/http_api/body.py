"""Reads a request's body, within limits of size and time."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from aiohttp import StreamReader, hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.context import FRONTEND, LARGE_BODIES, REQUEST_ID, SETTINGS
from ollama_proxyd.edges.http_api.frontends import settings_of
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.services.large import off_loop

T = TypeVar("T")
log = logging.getLogger(__name__)

SMALL_BYTES = 64 * 1024
"""The largest body of a route that is not for inference: reading it keeps nobody waiting."""

SLOWEST_BYTES_PER_S = 1024
"""A body that is slower on average is given up."""

GRACE_S = 10.0
"""How long a body may be slower than that."""


async def read_body(request: web.Request) -> bytes:
    """The body as it was sent; ProxyError when it is too large, encoded, broken or slow, or memory is full.

    The memory is held for the request until it ends.
    """
    parts: list[bytes] = []
    size_bytes = await _taken(request, parts.append)
    return parts[0] if len(parts) == 1 else await off_loop(size_bytes, partial(b"".join, parts))


async def read_form(request: web.Request) -> bytearray:
    """The same for a form with files, which is in memory once."""
    form = bytearray()
    await _taken(request, form.extend)
    return form


async def read_json(request: web.Request, parse: Callable[[bytes], T]) -> T:
    """What a parser makes of the body."""
    body = await read_body(request)
    return await off_loop(len(body), partial(received, body, parse))


async def _taken(request: web.Request, take: Callable[[bytes], None]) -> int:
    try:
        return await _read(request, request.app, take)
    except ProxyError as error:
        log.warning("request %s: its body is refused: %s", request.get(REQUEST_ID, "without a name"), error.message)
        request.app[BODIES].refused.publish(error.code or error.kind.value)
        raise


async def _read(request: web.Request, app: web.Application, take: Callable[[bytes], None]) -> int:
    settings, bodies, content = app[SETTINGS].value, app[BODIES], request.content
    most_bytes, allowed = _limit(request, app, settings)
    announced_bytes = request.content_length or 0
    _check_headers(request, announced_bytes, most_bytes, allowed)
    bodies.hold(request, announced_bytes, settings.max_bodies_bytes)
    begun_s = asyncio.get_running_loop().time()
    size_bytes = 0
    try:
        while not content.at_eof():
            if content.is_eof():
                part = content.read_nowait()
            else:
                part = await _next_part(content, begun_s + _allowed_s(size_bytes, settings.body_timeout_s))
            size_bytes += len(part)
            if size_bytes > most_bytes:
                raise _too_large(most_bytes, allowed)
            if size_bytes > announced_bytes:
                bodies.hold(request, size_bytes, settings.max_bodies_bytes)
            take(part)
    except TimeoutError:
        raise _too_slow(size_bytes, settings.body_timeout_s) from None
    except web.RequestPayloadError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"the request body is broken: {error}") from error
    return size_bytes


async def _next_part(content: StreamReader, due_s: float) -> bytes:
    async with asyncio.timeout_at(due_s):
        return await content.readany()


def _limit(request: web.Request, app: web.Application, settings: ServerSettings) -> tuple[int, str]:
    """The largest body of a route in bytes, and what says so."""
    if request.match_info.handler not in app[LARGE_BODIES]:
        return SMALL_BYTES, "this route takes"
    return _largest(request, settings)


def check_size(request: web.Request, size_bytes: int) -> None:
    """Raise ProxyError for a message on a connection that is larger than a body may be."""
    most_bytes, allowed = _largest(request, request.app[SETTINGS].value)
    if size_bytes > most_bytes:
        raise _too_large(most_bytes, allowed)


def _largest(request: web.Request, settings: ServerSettings) -> tuple[int, str]:
    if FRONTEND in request and (own := settings_of(request)) is not None and own.max_body_bytes is not None:
        return min(own.max_body_bytes, settings.max_bodies_bytes), f"the front end {own.name} takes"
    if settings.max_bodies_bytes < settings.max_body_bytes:
        return settings.max_bodies_bytes, "server.max_bodies_bytes allows"
    return settings.max_body_bytes, "server.max_body_bytes allows"


def _allowed_s(size_bytes: int, timeout_s: float) -> float:
    """How long a body may take of which so much has come."""
    return min(timeout_s, max(GRACE_S, size_bytes / SLOWEST_BYTES_PER_S))


def _too_slow(size_bytes: int, timeout_s: float) -> ProxyError:
    allowed_s = _allowed_s(size_bytes, timeout_s)
    message = f"only {size_bytes} bytes of the request body arrived in {allowed_s:g} s; "
    if allowed_s < timeout_s:
        message += f"send at least {SLOWEST_BYTES_PER_S} bytes a second"
    else:
        message += "server.body_timeout_s allows more time"
    return ProxyError(ErrorKind.INVALID_REQUEST, message, code="body_timeout")


def _check_headers(request: web.Request, announced_bytes: int, most_bytes: int, allowed: str) -> None:
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.lower() != "identity":
        message = f"a body with Content-Encoding {encoding[:40]!r} is not read; send it without compression"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Content-Encoding", code="unsupported_media_type")
    if announced_bytes > most_bytes:
        raise _too_large(most_bytes, allowed)


def _too_large(most_bytes: int, allowed: str) -> ProxyError:
    message = f"the request body is larger than {most_bytes} bytes, the most that {allowed}"
    return ProxyError(ErrorKind.TOO_LARGE, message)
