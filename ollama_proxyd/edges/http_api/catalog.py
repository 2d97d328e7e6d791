"""Which models can be had: the union over backends that are up, each with the backends that hold it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ollama_proxyd.core.errors import MODEL_REQUIRED, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, LoadedModel, Model
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.model_names import canonical, spellings
from ollama_proxyd.core.policy.eligibility import Situation, fitness_rules, unfit
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.requests import Hints, Operation, Request
from ollama_proxyd.dialects.base import Parse
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.health import LIST_AGE_S, MISS_AGE_S


class Entry(NamedTuple):
    """A model as its first holder describes it, and the ids of all that hold it, in configured order."""

    model: Model
    backends: tuple[str, ...]


class LoadedEntry(NamedTuple):
    """A model in memory, with what is known of its file, and the backends that have it there."""

    loaded: LoadedModel
    model: Model
    backends: tuple[str, ...]


async def models(services: Services, frontend: Frontend | None) -> tuple[Entry, ...]:
    """Every model that a request may name, by name, as the backends say now."""
    await services.health.catch_up(LIST_AGE_S)
    return _models(services, frontend)


def named(services: Services, parse: Parse, body: bytes, hints: Hints) -> Request:
    """What a parser makes of a body; one without a model is taken where one model alone can do what is asked.

    llama.cpp's own clients name none, since its server has but one.
    """
    try:
        return parse(body, hints)
    except ProxyError as error:
        entries = _models(services, hints.frontend)
        if error.code != MODEL_REQUIRED or not entries:
            raise
        fields = decode_fields(body)
        asked = parse(with_model(body, fields, entries[0].model.name), hints)
        names = [entry.model.name for entry in _models(services, hints.frontend, asked.operation)]
        if len(names) != 1:
            raise error.but(message=f"model is required; available: {', '.join(names) or 'none'}") from error
        return parse(with_model(body, fields, names[0]), hints)


def _models(
    services: Services, frontend: Frontend | None, operation: Operation = Operation.EMBEDDING
) -> tuple[Entry, ...]:
    """By default those that can be asked for anything."""
    found: dict[str, Entry] = {}
    for view, model in _served(services, frontend, operation):
        name = services.gateway.synonyms.alias_of(model.name)
        key = canonical(name)
        if view.spec.id in (entry := found.get(key, Entry(replace(model, name=name), ()))).backends:
            continue
        found[key] = entry._replace(backends=(*entry.backends, view.spec.id))
    return tuple(found[key] for key in sorted(found))


async def find(services: Services, name: str, frontend: Frontend | None) -> Entry:
    """One model; raises ProxyError that lists what there is, once the backends were asked again."""
    if (found := _entry(entries := _models(services, frontend), services, name)) is None:
        await services.health.catch_up(MISS_AGE_S)
        found = _entry(entries := _models(services, frontend), services, name)
    if found is not None:
        return found
    names = ", ".join(entry.model.name for entry in entries)
    there_is = f"available: {names}" if names else "no model is available"
    raise ProxyError(ErrorKind.MODEL_NOT_FOUND, f"model {name!r} not found; {there_is}", param="model")


def _entry(entries: Sequence[Entry], services: Services, name: str) -> Entry | None:
    held = {canonical(entry.model.name): entry for entry in reversed(entries)}
    return next((held[each] for each in spellings(services.gateway.synonyms.alias_of(name)) if each in held), None)


async def loaded(services: Services, frontend: Frontend | None) -> tuple[LoadedEntry, ...]:
    """Every model in memory, by name, as the backends say now; those that cannot tell are left out."""
    await services.health.catch_up(LIST_AGE_S)
    found: dict[str, LoadedEntry] = {}
    for view, model in _served(services, frontend):
        name = services.gateway.synonyms.alias_of(model.name)
        key = canonical(name)
        for resident in view.loaded or ():
            if canonical(resident.name) == canonical(model.name):
                entry = found.get(key, LoadedEntry(replace(resident, name=name), model, ()))
                found[key] = entry._replace(backends=(*entry.backends, view.spec.id))
    return tuple(found[key] for key in sorted(found))


def _served(
    services: Services, frontend: Frontend | None, operation: Operation = Operation.EMBEDDING
) -> Iterator[tuple[BackendView, Model]]:
    """Each backend with each model that it can and may serve, by the rules that routing has."""
    setting, hints, synonyms = services.governor.setting.value, Hints(frontend=frontend), services.gateway.synonyms
    for view in services.fleet.views.value:
        for model in view.models:
            names = synonyms.of(model.name) if frontend is not None else ()
            query = Query(model.name, operation, hints=hints, synonyms=names)
            if not unfit(view, model, Situation(query, setting, UNKNOWN_SYSTEM, under_way=0), fitness_rules(query)):
                yield view, model
