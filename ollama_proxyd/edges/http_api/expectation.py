"""A client that waits to be told that its body is wanted is told so only after it was let in."""

from collections.abc import Iterable, Iterator

from aiohttp import HttpVersion11, hdrs, web

from ollama_proxyd.core.errors import ErrorKind, ProxyError

CONTINUE = "100-continue"


def waiting(routes: Iterable[web.RouteDef]) -> Iterator[web.RouteDef]:
    """The same routes, which leave it to `meet` to answer an expectation."""
    for route in routes:
        yield web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, "expect_handler": _not_yet})


async def meet(request: web.Request) -> None:
    """Answer what the Expect header asks for; raises ProxyError for what nobody can promise."""
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
    """Nothing is promised before the door has looked at the request."""
