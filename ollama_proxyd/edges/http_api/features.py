"""GET and POST /api/features: Porpulsion's flags, with what each really does at each backend."""

import msgspec
from aiohttp import web

from ollama_proxyd.core.features import WORDS, Effect, FeatureStatus
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.context import services_of
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_struct
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.features import named


class FlagChoice(msgspec.Struct):
    """The body that switches a flag; `keep`: over restarts too."""

    feature: str
    enabled: bool
    keep: bool = False


async def features(request: web.Request) -> web.Response:
    """Every flag: whether it was asked for, and what it does at each backend."""
    return json_reply(features_json(services_of(request)))


async def switch_feature(request: web.Request) -> web.Response:
    """Switch a flag for requests from now on."""
    choice, services = await read_struct(request, FlagChoice), services_of(request)
    services.features.set(named(choice.feature), enabled=choice.enabled, keep=choice.keep)
    await services.store.written()
    return json_reply(features_json(services))


def features_json(services: Services) -> list[Json]:
    """All flags in Porpulsion's order."""
    return [_feature(each) for each in services.features.status(services.fleet.views.value)]


def enabled(services: Services) -> list[Json]:
    """The ids of the flags that are asked for and do something."""
    return [each.feature.value for each in services.features.status(services.fleet.views.value) if each.is_enabled]


def _feature(status: FeatureStatus) -> dict[str, Json]:
    words = WORDS[status.feature]
    return {
        "id": status.feature.value,
        "name": words.name,
        "description": words.description,
        "enabled": status.is_enabled,
        "wanted": status.is_wanted,
        "kept": status.is_kept,
        "backends": [_effect(each) for each in status.effects],
    }


def _effect(effect: Effect) -> dict[str, Json]:
    return {
        "backend": effect.backend_id,
        "way": effect.way.value,
        "in_force": effect.in_force,
        **reason_fields(effect.reason),
    }


ROUTES = (web.get("/api/features", features), web.post("/api/features", switch_feature))
