"""Loading, unloading and switching models at whatever backend has them, with the progress of loading as lines."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Hints, Json
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.dialects.framing.received import received
from ollama_proxyd.dialects.ollama.parse import parse_generate
from ollama_proxyd.edges.http_api.access import check_manager
from ollama_proxyd.edges.http_api.context import REQUEST_ID, services_of
from ollama_proxyd.edges.http_api.hints import read_hints
from ollama_proxyd.edges.http_api.ollama import DIALECT
from ollama_proxyd.edges.http_api.streaming import STARTED, Started
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct
from ollama_proxyd.edges.http_api.written import Stream
from ollama_proxyd.edges.plumbing.surface_json import surface_json
from ollama_proxyd.services.bundle import Services

LINES_TYPE = "application/x-ndjson"
_WORDS: Final = {"target": "backend"}
"""The field of these bodies that a hint is taken from."""


class ModelChoice(msgspec.Struct):
    """The body of each: a model, and the backend that is meant; without one, routing chooses it."""

    model: str
    backend: str | None = None
    stream: bool = True


async def load(request: web.Request) -> web.StreamResponse:
    """Have a model loaded; lines tell how far it is, the last one where it is."""
    return await _loading(request, alone=False)


async def switch(request: web.Request) -> web.StreamResponse:
    """The same, and what else is in that backend's memory and not in use leaves it."""
    return await _loading(request, alone=True)


async def unload(request: web.Request) -> web.Response:
    """Have a model leave the memory of each backend that has it, or of the one that is named."""
    check_manager(request)
    choice = await read_struct(request, ModelChoice)
    routed = await _answered(services_of(request), _body(choice, keep_alive=0), _hints(request, choice))
    gone = routed.backend_id.split(",") if routed.backend_id else []
    return json_reply({"model": choice.model, "backends": gone, **reason_fields(routed.decision.reason)})


async def _loading(request: web.Request, *, alone: bool) -> web.StreamResponse:
    check_manager(request)
    choice = await read_struct(request, ModelChoice)
    services, hints = services_of(request), _hints(request, choice)
    work = asyncio.create_task(_load(services, choice, hints, alone=alone), name="models.load")
    try:
        if not choice.stream:
            return json_reply(await work)
        return await _told(request, _progress(services, choice, hints, work))
    finally:
        work.cancel()


async def _told(request: web.Request, lines: AsyncGenerator[Json, None]) -> web.StreamResponse:
    """The lines as they come; what fails before the first one still has a status."""
    response: Stream | None = None
    async with aclosing(lines):
        async for each in lines:
            if response is None:
                response = Stream(headers={"Content-Type": LINES_TYPE})
                await response.prepare(request)
                request[STARTED] = Started(response, DIALECT.stream_error)
            await response.write(surface_json(each) + b"\n")
    assert response is not None
    await response.write_eof()
    return response


async def _progress(
    services: Services, choice: ModelChoice, hints: Hints, work: asyncio.Task[dict[str, Json]]
) -> AsyncGenerator[Json, None]:
    """What engines that the proxy runs tell of the model, and at last what came of it; raises ProxyError."""
    news, told = asyncio.Event(), None
    stop = services.engine_news.listen(lambda _: news.set())
    work.add_done_callback(lambda _: news.set())
    try:
        while not work.done():
            await news.wait()
            news.clear()
            if (step := _step(services, choice, hints)) not in {None, told}:
                told = step
                yield dict(step or ())
        yield await work
    finally:
        stop()


def _step(services: Services, choice: ModelChoice, hints: Hints) -> tuple[tuple[str, Json], ...] | None:
    """Where the model stands that is being loaded; None where nothing of it is under way here."""
    pool, query = services.pool(), Query(model=choice.model, hints=hints)
    views = {view.spec.id: view for view in services.fleet.views.value}
    for each in () if pool is None else pool.instances:
        view = views.get(each.backend_id)
        model = None if view is None or hints.target not in {None, each.backend_id} else held(view, query)
        if model is not None and model.name == each.model:
            told: dict[str, Json] = {"status": each.phase.value, "backend": each.backend_id, "model": each.model}
            return tuple({**told, "percent": each.loaded_percent}.items())
    return None


async def _load(services: Services, choice: ModelChoice, hints: Hints, *, alone: bool) -> dict[str, Json]:
    begun_s = services.clock.monotonic()
    routed = await _answered(services, _body(choice), hints)
    told: dict[str, Json] = {"status": "success", "model": choice.model, "backend": routed.backend_id}
    if alone:
        own = next(each.model for each in routed.decision.ranked if each.backend_id == routed.backend_id)
        told["unloaded"] = await _unload_others(services, routed.backend_id, own)
    return {**told, "seconds": services.clock.monotonic() - begun_s}


async def _unload_others(services: Services, backend_id: str, model: str) -> list[Json]:
    """The models that left; those in use stay."""
    await services.health.catch_up(0.0)
    fleet, gone = services.fleet, list[Json]()
    loaded = fleet.view(backend_id).loaded if fleet.has(backend_id) else None
    for each in loaded or ():
        # a reload may take the backend out while one of them leaves
        if each.name == model or not fleet.has(backend_id) or not fleet.backend(backend_id).can_unload:
            continue
        with suppress(ProxyError):
            await fleet.backend(backend_id).unload(each.name)
            fleet.note_unloaded(backend_id, each.name)
            gone.append(each.name)
    return gone


async def _answered(services: Services, body: bytes, hints: Hints) -> Routed:
    """Where the request went, once it has been answered."""
    request = received(body, lambda whole: parse_generate(whole, hints))
    try:
        async with aclosing(services.gateway.answer(request)) as events:
            routed = await anext(events)
            async for _ in events:
                pass
    except ProxyError as error:
        raise error.named(_WORDS) from error
    assert isinstance(routed, Routed)
    return routed


def _body(choice: ModelChoice, **more: Json) -> bytes:
    """The request by which Ollama's API loads and unloads."""
    return msgspec.json.encode({"model": choice.model, "stream": False, **more})


def _hints(request: web.Request, choice: ModelChoice) -> Hints:
    hints = read_hints(request.headers, request[REQUEST_ID])
    return hints if choice.backend is None else replace(hints, target=choice.backend)


ROUTES = (
    web.post("/models/load", load),
    web.post("/models/unload", unload),
    web.post("/models/switch", switch),
)
