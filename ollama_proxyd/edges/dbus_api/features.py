"""The feature flags in D-Bus's words."""

from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.features import WORDS, Effect, FeatureStatus
from ollama_proxyd.edges.dbus_api.errors import INVALID_ARGUMENT, refused_as
from ollama_proxyd.edges.dbus_api.values import facts, reason_facts
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.features import named


def feature_rows(services: Services) -> list[dict[str, Variant]]:
    """What ListFeatures tells."""
    return [_row(each) for each in services.features.status(services.fleet.views.value)]


async def set_feature(services: Services, feature: str, enabled: bool, keep: bool) -> None:
    """Switch a flag for requests from now on."""
    with refused_as({ErrorKind.INVALID_REQUEST: INVALID_ARGUMENT}):
        services.features.set(named(feature), enabled=enabled, keep=keep)
    await services.store.written()


def _row(status: FeatureStatus) -> dict[str, Variant]:
    words = WORDS[status.feature]
    rows: dict[str, tuple[str, Any]] = {
        "id": ("s", status.feature.value),
        "name": ("s", words.name),
        "description": ("s", words.description),
        "enabled": ("b", status.is_enabled),
        "wanted": ("b", status.is_wanted),
        "kept": ("b", status.is_kept),
        "backends": ("aa{sv}", [_effect(each) for each in status.effects]),
    }
    return facts(rows)


def _effect(effect: Effect) -> dict[str, Variant]:
    rows: dict[str, tuple[str, Any]] = {"backend": ("s", effect.backend_id), "way": ("s", effect.way.value)}
    if effect.in_force is not None:
        rows["in_force"] = ("b", effect.in_force)
    return {**facts(rows), **reason_facts(effect.reason)}
