"""GET /api/quant-advice: which quantisation of a model suits each device here, in Porpulsion's shape and more."""

from contextlib import suppress

from aiohttp import web

from ollama_proxyd.core.binding import device_of, shares_memory
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.features import Feature
from ollama_proxyd.core.fleet import BackendView, Hardware, Model
from ollama_proxyd.core.gguf import GgufFacts, facts_of
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.quant_advice import (
    GB,
    MOST_PARAMETERS,
    Advice,
    Option,
    Place,
    Subject,
    advise,
    parameters_in,
    parameters_of,
)
from ollama_proxyd.core.readings import known
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.strict_json import json_reply
from ollama_proxyd.services.bundle import Services

ASSUMED_PARAMETERS = 8e9
"""Of the model that is meant where none is named."""
MOST_CONTEXT = 10**8
USUAL_CONTEXT = 8192
"""Where none is asked for and the model is not loaded, at most what it was trained for: few are served with more."""
MOST_NAME = 300
ADVICE_HEADER = "X-Quant-Advice"
_TRUE, _FALSE = frozenset({"1", "true", "yes", ""}), frozenset({"0", "false", "no"})


async def quant_advice(request: web.Request) -> web.Response:
    """For each device the best quantisation that fits, with its memory, speed and joules; nothing is changed."""
    services, name = services_of(request), request.query.get("model", "")[:MOST_NAME]
    context, aggressive = _context(request), _flag(request, "aggressive", Feature.AGGRESSIVE_QUANT)
    subject = await _subject(services, name, context)
    views = _views(services, request.query.get("backend"), name)
    places = [_place(services, view, name) for view in views] or [_own_memory(services)]
    told = [advise(subject, place, views, aggressive=aggressive) for place in places]
    return json_reply(_told(services, subject, told))


async def advice_header(services: Services, model: str) -> dict[str, str]:
    """What a pull is told where the advisor is switched on: the quantisation that fits where it would be answered."""
    on = services.features.wishes.value.on
    if Feature.QUANT_ADVISOR not in on:
        return {}
    with suppress(ProxyError):
        subject = await _subject(services, model[:MOST_NAME], None)
        for view in _views(services, None, model):
            place = _place(services, view, model)
            advice = advise(subject, place, (), aggressive=Feature.AGGRESSIVE_QUANT in on)
            if advice.recommended is not None:
                return {ADVICE_HEADER: f"{advice.recommended.tier.tag}; backend={view.spec.id}"}
    return {}


def _flag(request: web.Request, name: str, feature: Feature) -> bool:
    """What the question says, else what is switched on."""
    if name not in request.query:
        return feature in services_of(request).features.wishes.value.on
    value = request.query[name].lower()
    if value not in _TRUE | _FALSE:
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{name} must be 1 or 0", param=name)
    return value in _TRUE


def _context(request: web.Request) -> int | None:
    value = request.query.get("context")
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and 0 < int(value) <= MOST_CONTEXT):
        message = f"context must be a whole number of tokens from 1 to {MOST_CONTEXT}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="context")
    return int(value)


async def _subject(services: Services, name: str, context: int | None) -> Subject:
    """What is known of a model: by the engine that holds it, else by its name."""
    if not name:
        return Subject("", ASSUMED_PARAMETERS, is_counted=False, context_tokens=context or USUAL_CONTEXT)
    held = _held(services, name)
    facts = None if held is None else await _facts(services, *held)
    model = None if held is None else held[1]
    counted = (facts and facts.parameters) or parameters_of(model.parameter_size if model else None)
    parameters = counted or parameters_in(name)
    if not parameters or parameters > MOST_PARAMETERS:
        message = (
            f"nothing tells how many parameters {name!r} has: no backend says it, and its name does not; "
            "write them into the name, such as llama3.1:8b"
        )
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, message, param="model")
    return Subject(
        name,
        float(parameters),
        counted is not None,
        context or _usual_context(held, facts),
        facts,
        model.size_bytes if model else None,
        model.quantization if model else None,
    )


def _held(services: Services, name: str) -> tuple[BackendView, Model] | None:
    for view in services.fleet.views.value:
        for model in view.models:
            if canonical(model.name) == canonical(name) and view.can_serve:
                return view, model
    return None


def _usual_context(held: tuple[BackendView, Model] | None, facts: GgufFacts | None) -> int:
    """The context with which a model is loaded, else a usual one."""
    loaded = next((each for each in (held[0].loaded or () if held else ()) if held and each.name == held[1].name), None)
    trained = facts.context_length if facts else None
    return (loaded and loaded.context_length) or min(USUAL_CONTEXT, trained or USUAL_CONTEXT)


async def _facts(services: Services, view: BackendView, model: Model) -> GgufFacts | None:
    """What the engine tells of the model's file, under GGUF's names."""
    with suppress(ProxyError, ValueError):
        shown = await services.gateway.show(view.spec.id, model.name, {})
        info = shown.get("model_info")
        return facts_of(info, ()) if isinstance(info, dict) else None
    return None


def _views(services: Services, backend: str | None, name: str) -> list[BackendView]:
    """The backends of this machine, those first that would answer a request for the model."""
    views = [view for view in services.fleet.views.value if view.spec.is_local]
    if backend is not None:
        named = [view for view in views if view.spec.id == backend]
        if not named:
            there_are = ", ".join(view.spec.id for view in views) or "none"
            message = f"there is no backend {backend[:100]!r} on this machine; there are: {there_are}"
            raise ProxyError(ErrorKind.BACKEND_NOT_FOUND, message, param="backend")
        return named
    ranked = [each.backend_id for each in services.gateway.explain(Query(model=name or None)).ranked]
    order = {backend_id: place for place, backend_id in enumerate(ranked)}
    return sorted(views, key=lambda view: order.get(view.spec.id, len(order)))


def _place(services: Services, view: BackendView, name: str) -> Place:
    """The memory of a backend's device: a card's own, else the processor's."""
    system, topology = services.system.value, services.topology()
    resident = [each for each in view.loaded or () if canonical(each.name) == canonical(name)]
    device = device_of(view.spec, system.devices)
    if shares_memory(view.spec) or device is None:
        total, free = topology.usable_memory_bytes, known(system.memory_available_bytes)
        if not shares_memory(view.spec):
            total = free = None
        own = sum(each.size_bytes or 0 for each in resident)
        has_amx = topology.has_amx and view.spec.hardware.value == "cpu"
        return Place(view, total, None if free is None else min(free + own, total or free + own), has_amx)
    total, used = known(device.memory_total_bytes), known(device.memory_used_bytes)
    own = sum(each.size_vram_bytes or each.size_bytes or 0 for each in resident)
    free = None if total is None or used is None else min(total - used + own, total)
    return Place(view, total, free, is_card=True)


def _own_memory(services: Services) -> Place:
    """The machine's memory, for an engine that is still to come."""
    topology = services.topology()
    return Place(
        None, topology.usable_memory_bytes, known(services.system.value.memory_available_bytes), topology.has_amx
    )


def _told(services: Services, subject: Subject, advice: list[Advice]) -> dict[str, Json]:
    memory = services.topology().usable_memory_bytes
    first = next((each for each in advice if each.recommended), advice[0] if advice else None)
    return {
        "ram_gb": None if memory is None else round(memory / GB, 1),
        "recommended": None if first is None or first.recommended is None else _option(first.recommended),
        "all_tiers": [_option(each) for each in first.options] if first else [],
        "model": subject.name or None,
        "parameters": subject.parameters,
        "parameters_from": "the model" if subject.is_counted else ("its name" if subject.name else "assumed"),
        "context_tokens": subject.context_tokens,
        "quantization": subject.quantization,
        "backend": None if first is None or first.place.view is None else first.place.view.spec.id,
        "devices": [_device(each) for each in advice],
        "registry_tags": reason_fields(Reason("tags_not_listed")),
    }


def _device(advice: Advice) -> dict[str, Json]:
    place = advice.place
    return {
        "backend": place.view.spec.id if place.view else None,
        "hardware": (place.view.spec.hardware if place.view else Hardware.CPU).value,
        "memory_total_bytes": place.total_bytes,
        "memory_free_bytes": place.free_bytes,
        "recommended": None if advice.recommended is None else advice.recommended.tier.tag,
        **reason_fields(_why_none(advice)),
        "tiers": [_option(each) for each in advice.options],
    }


def _why_none(advice: Advice) -> Reason | None:
    """Why nothing is recommended."""
    if advice.recommended is not None:
        return None
    if advice.place.room_bytes is None:
        return Reason("memory_unknown")
    least = min(each.memory_bytes for each in advice.options)
    return Reason("nothing_fits", needed_gb=least / GB, free_gb=advice.place.room_bytes / GB)


def _option(option: Option) -> dict[str, Json]:
    """One quantisation: Porpulsion's keys, then ours."""
    return {
        "tag": option.tier.tag,
        "label": option.tier.label,
        "description": option.tier.description,
        "min_ram_gb": round(option.memory_bytes / GB + 0.05, 1),
        "memory_bytes": round(option.memory_bytes),
        "weights_bytes": round(option.weights_bytes),
        "cache_bytes": option.cache_bytes,
        "fits": option.fits,
        "tokens_per_second": None if option.tokens_per_second is None else round(option.tokens_per_second, 2),
        "joules_per_token": None if option.joules_per_token is None else round(option.joules_per_token, 3),
        "speed_from": option.speed_from,
        "models": list(option.models),
    }


ROUTES = (web.get("/api/quant-advice", quant_advice),)
