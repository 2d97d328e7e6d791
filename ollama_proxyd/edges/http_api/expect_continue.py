"""Sends `100 Continue` only after the access checks (RFC 9110, 10.1.1)."""

from collections.abc import Iterable, Iterator

from aiohttp import HttpVersion11, hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError

CONTINUE = "100-continue"


def deferred(routes: Iterable[web.RouteDef]) -> Iterator[web.RouteDef]:
    """The same routes; `send_100` answers the Expect header."""
    for route in routes:
        yield web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, "expect_handler": _not_yet})


async def send_100(request: web.Request) -> None:
    """Answer the Expect header; raises ProxyError for another expectation."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is None:
        return
    if expected.lower() != CONTINUE:
        message = f"the header Expect: {expected[:40]!r} asks for what this server cannot promise; it knows {CONTINUE}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Expect", code="expectation_failed")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _not_yet(_request: web.Request) -> None:
    """Promise nothing before the access checks."""
