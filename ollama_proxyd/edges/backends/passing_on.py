"""Calls that go to an engine as they came: reranking, sound and images, in JSON or as a form."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, Usage
from ollama_proxyd.core.faults import Fault, fault_of
from ollama_proxyd.core.requests import WRITING, Operation, Request
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.core.upload import Upload
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, renamed, with_model
from ollama_proxyd.dialects.openai.passed import usage_in
from ollama_proxyd.edges.backends.exchange import Exchange
from ollama_proxyd.edges.backends.server import JSON_TYPE, Posted, Server
from ollama_proxyd.edges.plumbing.call import PIECE_BYTES
from ollama_proxyd.edges.plumbing.http_reply import Reply
from ollama_proxyd.services.large import off_loop

PASSED = frozenset(Operation) - WRITING - {Operation.EMBEDDING}
"""What no dialect translates."""
_IN_JSON = frozenset({Operation.RERANKING, Operation.INFILL})
"""What is answered in JSON whatever the answer calls itself."""
_OTHER_NAMES = {"rerank": "reranking"}
"""Of routes that some engines have under another name, such as Lemonade."""
_NO_ROUTE = frozenset({404, 405})
_PAGE = re.compile(r"text/html|application/xhtml\+xml")
_HARMLESS = re.compile(
    r"(audio|video)/[a-z0-9.+-]+|image/(?!svg)[a-z0-9.+-]+|text/(plain|vtt|event-stream)|" + JSON_TYPE
)
"""Types that no browser runs."""
_OCTETS = "application/octet-stream"
_MOST_TYPE_CHARACTERS = 128


async def pass_on(
    exchange: Exchange, server: Server, base: str, request: Request, model: str
) -> AsyncGenerator[Event, None]:
    """The engine's answer: Accepted with its content type, its bytes, Finished; closing it early closes the connection.

    An engine without the route is asked under the route's other name. It counts as one of the exchange's.
    """
    exchange.in_flight += 1
    try:
        async with aclosing(_by_some_route(server, base, request, model)) as events:
            async for event in events:
                yield event
    finally:
        exchange.in_flight -= 1


async def _by_some_route(server: Server, base: str, request: Request, model: str) -> AsyncGenerator[Event, None]:
    other = _OTHER_NAMES.get(request.endpoint)
    for endpoint in filter(None, (request.endpoint, other)):
        try:
            async with aclosing(_answer(server, _path(base, endpoint), request, model)) as events:
                async for event in events:
                    yield event
                return
        except ProxyError as error:
            has_no_route = error.status in _NO_ROUTE and fault_of(error) is Fault.NO_OPERATION
            if not has_no_route:
                raise
            if other in {None, endpoint}:
                raise _without_route(server, _path(base, endpoint), error) from error


def _path(base: str, endpoint: str) -> str:
    return endpoint if endpoint.startswith("/") else f"{base}/{endpoint}"


async def _answer(server: Server, path: str, request: Request, model: str) -> AsyncGenerator[Event, None]:
    posted = await off_loop(len(request.body), partial(_posted, request, model))
    reply = await server.post(path, posted, request.hints)
    try:
        kind = _content_type(reply)
        if not request.stream or reply.content_type == JSON_TYPE:
            body, usage = await reply.body(), Usage()
            if not body.strip():
                raise _empty(reply)
            if reply.content_type == JSON_TYPE or request.operation in _IN_JSON:
                name = None if request.model == model else request.model
                body, usage = await off_loop(len(body), partial(_read, body, name))
                kind = kind if reply.content_type == JSON_TYPE else JSON_TYPE
            yield Accepted(rest_s=server.rest_s(reply), content_type=kind)
            yield Delta(frame=body)
            yield Finished(usage=usage)
            return
        yield Accepted(rest_s=server.rest_s(reply), content_type=kind)
        is_empty = True
        while piece := await reply.read():
            reply.note_progress()
            yield Delta(frame=piece)
            is_empty = False
        if reply.broken is not None or is_empty:
            raise reply.broken or _empty(reply)
        yield Finished()
    finally:
        reply.end()


def _read(body: bytes, name: str | None) -> tuple[bytes, Usage]:
    """An answer in JSON under the client's name of the model, and what it tells of its tokens."""
    usage = usage_in(body)
    return body if name is None else renamed(body, name), usage


def _empty(reply: Reply) -> ProxyError:
    return ProxyError(ErrorKind.UPSTREAM_FAILED, f"{reply.who} answered with nothing", status=reply.status)


def _without_route(server: Server, path: str, error: ProxyError) -> ProxyError:
    """The failure in words: engines say of a route that they lack no more than that it is not there."""
    message = f"{server.who} has nothing at {path}; ask an engine that has it, by X-Target-Backend or another name"
    return error.but(message=message, detail=None)


def _posted(request: Request, model: str) -> Posted:
    """The request under the engine's own name of the model."""
    upload = request.upload
    if upload is None:
        return Posted(with_model(request.body, decode_fields(request.body), model), "*/*")
    return Posted(_Form(upload, request.model, model), "*/*", upload.content_type)


class _Form:
    """A form in pieces, in which the model may have another name; it can be sent twice."""

    def __init__(self, upload: Upload, asked: str, model: str) -> None:
        at = upload.model_at
        whole = memoryview(upload.form)
        is_same = asked == model
        self._parts = (whole,) if is_same else (whole[: at.start], memoryview(model.encode()), whole[at.stop :])

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            for at in range(0, len(part), PIECE_BYTES):
                yield bytes(part[at : at + PIECE_BYTES])


def _content_type(reply: Reply) -> str:
    """What the client is told that it gets; a page is no answer, and what is not known is told to be bytes."""
    kind = reply.content_type
    if _PAGE.fullmatch(kind):
        message = f"{reply.who} answered with a page ({sanitize_line(kind)}) instead of what was asked for"
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=reply.status)
    told = reply.headers.get("Content-Type", "").strip()
    is_short = len(told) <= _MOST_TYPE_CHARACTERS and told.isascii() and told.isprintable()
    return told if is_short and _HARMLESS.fullmatch(kind) else _OCTETS
