"""The routes of Ollama's API that one engine answers for itself: the files of models, and its account."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.management import Managed, Management, Places, holders, store
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Hints, Json
from ollama_proxyd.dialects.framing import ndjson, sse
from ollama_proxyd.dialects.framing.jsonbody import decode_object, invalid_request, object_in
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.edges.http_api import routing_headers
from ollama_proxyd.edges.http_api.access import check_manager
from ollama_proxyd.edges.http_api.body import read_body
from ollama_proxyd.edges.http_api.context import REQUEST_ID, SETTINGS, services_of
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.ollama import DIALECT
from ollama_proxyd.edges.http_api.quant_advice import advice_header
from ollama_proxyd.edges.http_api.status_events import HEADERS as EVENT_HEADERS
from ollama_proxyd.edges.http_api.status_events import wants_events
from ollama_proxyd.edges.http_api.streaming import STARTED, Started
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.large import off_loop

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}", re.ASCII)
_MOST_ANSWER_BYTES = 1024 * 1024


class Whole(NamedTuple):
    """A backend's answer in one piece."""

    status: int
    content_type: str
    body: bytes


async def manage(request: web.Request) -> web.StreamResponse:
    """Change models: what concerns one that is there at each backend that holds it, what is new at one backend."""
    check_manager(request)
    body = await read_body(request)
    fields: dict[str, Json] = await off_loop(len(body), partial(received, body, decode_object))
    hints = read_hints(request.headers, request[REQUEST_ID])
    services = services_of(request)
    services.gateway.check_open()
    await services.health.catch_up(0.0)
    asked = Management(request.method, request.path, body)
    places = await _places(request, asked, fields, hints)
    if asked.path == "/api/pull":
        places = places._replace(headers=await advice_header(services, _text(fields, "model", "name")))
    is_streamed = request.path not in {"/api/delete", "/api/copy"} and fields.get("stream") is not False
    with services.gateway.busy():
        try:
            if is_streamed:
                return await _relay(request, asked, places)
            return reply(await ask_all(services, asked, places.backend_ids), places)
        finally:
            await services.health.catch_up(0.0)  # what changed is to be listed at once


async def create(request: web.Request) -> web.StreamResponse:
    """Make a model, of which the template, the license and the messages may be long."""
    return await manage(request)


async def account(request: web.Request) -> web.Response:
    """What an Ollama says of its account and its cloud models: its command asks, and signs in and out."""
    check_manager(request)
    body = await read_body(request)
    places = _store(request, None, read_hints(request.headers, request[REQUEST_ID]))
    return reply(
        await ask_all(services_of(request), Management(request.method, request.path, body), places.backend_ids), places
    )


async def blob(request: web.Request) -> web.Response:
    """A file that a model is created from: whether it is there, or its bytes, which are passed on as they arrive."""
    check_manager(request)
    if not _DIGEST.fullmatch(request.match_info["digest"]):
        raise invalid_request("invalid digest format")
    services = services_of(request)
    services.gateway.check_open()
    places = _store(request, None, read_hints(request.headers, request[REQUEST_ID]))
    body = _arriving(request) if request.method == "POST" else b""
    with services.gateway.busy():
        answers = await ask_all(services, Management(request.method, request.path, body), places.backend_ids)
    return reply(answers, places)


async def _arriving(request: web.Request) -> AsyncGenerator[bytes, None]:
    """The body piece by piece; one that pauses for too long is broken."""
    pause_s = request.app[SETTINGS].value.body_timeout_s
    while True:
        try:
            async with asyncio.timeout(pause_s):
                piece = await request.content.readany()
        except TimeoutError:
            message = f"nothing of the body came for {pause_s:g} s; send it without pauses"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, code="body_timeout") from None
        if not piece:
            return
        yield piece


def _text(fields: dict[str, Json], *names: str) -> str:
    """The first of some fields that is given; ProxyError where none is, or it is no text."""
    for name in names:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid_request(f"invalid value for '{name}': expected a string", name)
        if value:
            return value
    raise invalid_request(f"{names[0]} is required", names[0])


async def _places(request: web.Request, asked: Management, fields: dict[str, Json], hints: Hints) -> Places:
    views = managing(services_of(request))
    if asked.path == "/api/copy":
        return holders(views, _text(fields, "source"), hints.target)
    if asked.path == "/api/pull" and not (fields.get("model") or fields.get("name")):
        raise invalid_request("invalid model name", "model")
    model = _text(fields, "model", "name")
    if asked.path == "/api/delete":
        return holders(views, model, hints.target)
    if asked.path == "/api/push":
        found = holders(views, model, hints.target)
        return found._replace(backend_ids=found.backend_ids[:1])
    source = fields.get("from") if asked.path == "/api/create" else None
    if isinstance(source, str) and source:
        return holders(views, source, hints.target)
    files = fields.get("files")
    if hints.target is None and isinstance(files, dict) and files:
        return await _with_files(request, files) or _store(request, model, hints)
    return _store(request, model, hints)


async def _with_files(request: web.Request, files: dict[str, Json]) -> Places | None:
    """The first backend that has the files which a model is created from; None where none has."""
    services = services_of(request)
    digests = [each for each in files.values() if isinstance(each, str) and _DIGEST.fullmatch(each)][:64]
    for view in managing(services):
        asked = [Management("HEAD", f"/api/blobs/{digest}") for digest in digests]
        try:
            answers = [(await ask_all(services, each, (view.spec.id,)))[0] for each in asked]
        except ProxyError:
            continue
        if answers and all(answer.status == HTTPStatus.OK for answer in answers):
            return Places((view.spec.id,), "it has the files")
    return None


def managing(services: Services) -> list[BackendView]:
    """The backends that keep the files of models, without those that are shown until their requests have ended."""
    fleet = services.fleet
    return [each for each in fleet.views.value if fleet.has(each.spec.id) and fleet.backend(each.spec.id).can_manage]


def _store(request: web.Request, model: str | None, hints: Hints) -> Places:
    services = services_of(request)
    ranked = services.gateway.explain(Query(model=None)).ranked
    wishes = (hints.target, request.app[SETTINGS].value.pull_to)
    return store(managing(services), model, wishes, [each.backend_id for each in ranked])


async def ask_all(services: Services, asked: Management, backend_ids: Sequence[str]) -> list[Whole]:
    """The answers of several backends at once; ProxyError of one only where it is the only one."""
    ends = await asyncio.gather(*(_whole(services, asked, each) for each in backend_ids), return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException)]
    if failures:
        raise failures[0]
    return [end for end in ends if isinstance(end, Whole)]


async def _whole(services: Services, asked: Management, backend_id: str) -> Whole:
    head, body = Managed(0, ""), bytearray()
    async with aclosing(services.fleet.backend(backend_id).manage(asked)) as answer:
        async for piece in answer:
            if isinstance(piece, Managed):
                head = piece
            elif len(body) < _MOST_ANSWER_BYTES:
                body += piece
    return Whole(head.status, head.content_type, bytes(body))


def reply(answers: Sequence[Whole], places: Places) -> web.Response:
    """The first answer that is an error, naming its backend where there are several, else the first."""
    names = ",".join(places.backend_ids)
    for backend_id, answer in zip(places.backend_ids, answers, strict=True):
        if answer.status >= HTTPStatus.BAD_REQUEST:
            headers = routing_headers.unrouted(places.why, backend_id)
            return _response(answer._replace(body=_named(answer.body, backend_id, len(answers))), headers)
    return _response(answers[0], {**routing_headers.unrouted(places.why, names), **places.headers})


def _named(body: bytes, backend_id: str, of: int) -> bytes:
    told = object_in(body)
    error = told.get("error") if told and of > 1 else None
    if not isinstance(error, str) or error.startswith(f"backend {backend_id} "):
        return body
    return msgspec.json.encode({"error": f"{backend_id}: {error}"})


def _response(answer: Whole, headers: dict[str, str]) -> web.Response:
    kind = {"Content-Type": answer.content_type} if answer.content_type else {}
    return web.Response(status=answer.status, body=answer.body, headers={**kind, **headers})


class Progress:
    """An engine's lines on their way to a client, as they are or as events."""

    def __init__(self, response: Stream, *, as_events: bool) -> None:
        self.response = response
        self._splitter = ndjson.LineSplitter() if as_events else None

    async def write(self, piece: bytes) -> None:
        """Pass a piece on; events go line by line."""
        if self._splitter is not None:
            piece = b"".join(map(sse.framed, ndjson.lines(self._splitter.feed(piece))))
        if piece:
            await self.response.write(piece)

    async def end(self) -> None:
        """Nothing more comes."""
        if self._splitter is not None and self._splitter.remainder():
            await self.write(b"\n")
        await self.response.write_eof()


async def _relay(request: web.Request, asked: Management, places: Places) -> web.StreamResponse:
    """The progress as it comes, of one backend after another; an error ends it."""
    progress: Progress | None = None
    fleet = services_of(request).fleet
    for backend_id in places.backend_ids:
        is_good = True
        async with aclosing(fleet.backend(backend_id).manage(asked)) as answer:
            async for piece in answer:
                if isinstance(piece, Managed):
                    is_good = piece.status < HTTPStatus.BAD_REQUEST
                    progress = progress or await _begun(request, piece, places)
                elif progress is not None:
                    await progress.write(piece)
        if not is_good:
            break
    if progress is None:
        raise TypeError("a backend answered without a head")
    await progress.end()
    return progress.response


async def _begun(request: web.Request, head: Managed, places: Places) -> Progress:
    as_events = head.status < HTTPStatus.BAD_REQUEST and wants_events(request)
    headers = EVENT_HEADERS if as_events else {"Content-Type": head.content_type or DIALECT.stream_type}
    routing = routing_headers.unrouted(places.why, ",".join(places.backend_ids))
    response = Stream(status=head.status, headers={**headers, **routing, **places.headers})
    await response.prepare(request)
    request[STARTED] = Started(response, _event_of_error if as_events else DIALECT.stream_error)
    return Progress(response, as_events=as_events)


def _event_of_error(error: ProxyError) -> bytes:
    return sse.framed(DIALECT.stream_error(error).strip())


INFERENCE = (web.post("/api/create", create),)
"""The routes that take large bodies."""
ROUTES = (
    *INFERENCE,
    web.post("/api/pull", manage),
    web.post("/api/push", manage),
    web.post("/api/copy", manage),
    web.delete("/api/delete", manage),
    web.get("/api/status", account, allow_head=False),
    web.post("/api/me", account),
    web.post("/api/signout", account),
    web.head("/api/blobs/{digest:[^/]+}", blob),
    web.post("/api/blobs/{digest:[^/]+}", blob),
)
