"""Reads a request's body, within limits of size and of silence."""

import asyncio
from functools import partial

from aiohttp import StreamReader, hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.context import LARGE_BODIES, SETTINGS
from ollama_proxyd.edges.plumbing.large import off_loop

SMALL_BYTES = 64 * 1024
"""The largest body of a route that is not for inference: reading it keeps nobody waiting."""

IDLE_S = 30.0
"""A body that stalls for so long is given up."""


async def read_body(request: web.Request) -> bytes:
    """The body as it was sent; ProxyError when it is too large, encoded, broken, or stops coming."""
    most_bytes = _most_bytes(request)
    _check_headers(request, most_bytes)
    content = request.content
    parts: list[bytes] = []
    size_bytes = 0
    try:
        while not content.at_eof():
            part = await content.readany() if content.is_eof() else await _next_part(content)
            size_bytes += len(part)
            if size_bytes > most_bytes:
                raise _too_large(most_bytes)
            parts.append(part)
    except web.RequestPayloadError as error:
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"the request body is broken: {error}") from error
    return parts[0] if len(parts) == 1 else await off_loop(size_bytes, partial(b"".join, parts))


def _most_bytes(request: web.Request) -> int:
    is_large = request.match_info.handler in request.app[LARGE_BODIES]
    return request.app[SETTINGS].value.max_body_bytes if is_large else SMALL_BYTES


async def _next_part(content: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(IDLE_S):
            return await content.readany()
    except TimeoutError:
        message = f"nothing more of the request body arrived for {IDLE_S:g} s"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, code="body_timeout") from None


def _check_headers(request: web.Request, most_bytes: int) -> None:
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.lower() != "identity":
        message = f"a body with Content-Encoding {encoding[:40]!r} is not read; send it without compression"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Content-Encoding", code="unsupported_media_type")
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes)


def _too_large(most_bytes: int) -> ProxyError:
    allowed = "this route takes" if most_bytes == SMALL_BYTES else "server.max_body_bytes allows"
    message = f"the request body is larger than {most_bytes} bytes, the most that {allowed}"
    return ProxyError(ErrorKind.TOO_LARGE, message)
