"""What is known of a backend, in D-Bus's words."""

import re
from collections.abc import Mapping
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.policy.priors import measured_power_w
from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.status import BackendStatus, most_asked
from ollama_proxyd.edges.dbus_api.contract import contract
from ollama_proxyd.edges.dbus_api.values import (
    NO_COUNT,
    STAND_INS,
    Facts,
    int32,
    number,
    reason_facts,
    reason_values,
)
from ollama_proxyd.services.ledger import BackendTotals

_BYTES_PER_GB = 1_000_000_000
_FIELDS = tuple(
    (name, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(), each.signature)
    for name, each in contract("Backend").properties.items()
    if name not in {"Reason", "ReasonCode", "ReasonDetails", "Unknown"}
)
"""The properties of the contract, and the fields of BackendStatus that they show."""


def is_healthy(view: BackendView) -> bool:
    """Whether it can serve."""
    return view.health is Health.UP


def row(view: BackendView) -> tuple[str, str, str, str, bool, float, int]:
    """One row of ListBackends."""
    spec = view.spec
    power_w, latency_ms = number(spec.profile.power_w), _latency_ms(view)
    latency = NO_COUNT if latency_ms is None else latency_ms
    return spec.id, spec.name, spec.api.value, spec.hardware.value, is_healthy(view), power_w, latency


def properties(status: BackendStatus) -> dict[str, Any]:
    """Every property: the field of the same name, or a stand-in where it is not known."""
    sentence, code, details = reason_values(status.reason)
    values: dict[str, Any] = {"Reason": sentence, "ReasonCode": code, "ReasonDetails": details}
    unknown: dict[str, dict[str, Variant]] = {}
    for name, field, signature in _FIELDS:
        value = getattr(status, field)
        if isinstance(value, Unavailable):
            unknown[name] = reason_facts(value.reason)
            value = STAND_INS[signature]
        values[name] = number(value) if signature == "d" else list(value) if signature == "as" else value
    return {**values, "Unknown": unknown}


def details(view: BackendView) -> dict[str, Variant]:
    """What GetBackendDetails tells."""
    spec, facts = view.spec, Facts()
    for key, text in (("id", spec.id), ("name", spec.name), ("type", spec.api.value), ("engine", spec.flavor)):
        facts.say(key, "s", text)
    facts.say("hardware", "s", spec.hardware.value)
    facts.say("endpoint", "s", spec.endpoint)
    facts.say("healthy", "b", is_healthy(view))
    facts.say("health", "s", view.health.value)
    facts.say_reason(view.reason)
    facts.say("priority", "i", spec.priority)
    facts.say("slots", "i", view.slots)
    facts.say("supported_patterns", "as", list(spec.rules.supported))
    facts.say("excluded_patterns", "as", list(spec.rules.excluded))
    facts.say("preferred_models", "as", list(spec.rules.preferred))
    _optional(facts, "rated_power_watts", "d", spec.profile.power_w, "not_configured")
    _optional(facts, "measured_power_watts", "d", measured_power_w(view), "not_measured")
    _optional(facts, "avg_latency_ms", "i", _latency_ms(view), "not_configured_or_learned")
    most_bytes = spec.rules.max_size_bytes
    _optional(facts, "max_model_size_gb", "i", most_bytes and most_bytes // _BYTES_PER_GB, "no_limit")
    _abilities(facts, view)
    return facts.body()


def metrics(view: BackendView, totals: BackendTotals) -> dict[str, Variant]:
    """What GetBackendMetrics tells."""
    facts, requests = Facts(), totals.requests
    facts.say("request_count", "x", requests)
    facts.say("success_count", "x", requests - totals.failures - totals.cancelled)
    facts.say("error_count", "x", totals.failures)
    facts.say("cancelled_count", "x", totals.cancelled)
    facts.say("tokens", "x", totals.completion_tokens)
    facts.say("energy_joules", "d", totals.energy_j)
    facts.say("total_latency_ms", "x", totals.busy_s * 1000)
    none_yet = "no_request_yet"
    mean_ms = int32(totals.busy_s * 1000 / requests) if requests else None
    _optional(facts, "avg_latency_ms", "i", mean_ms, none_yet)
    _optional(facts, "error_rate", "d", 100 * totals.failures / requests if requests else None, none_yet)
    loaded = None if view.loaded is None else [model.name for model in view.loaded]
    _optional(facts, "loaded_models", "as", loaded, "loaded_unknown")
    return facts.body()


def _optional(facts: Facts, key: str, signature: str, value: Any, code: str) -> None:
    if value is None:
        facts.lack(key, Reason(code))
    else:
        facts.say(key, signature, value)


def _abilities(facts: Facts, view: BackendView) -> None:
    """What its models can do, as far as they say; one that says nothing is taken to do everything."""
    words: Mapping[str, str] = {
        "supports_generate": "completion",
        "supports_stream": "completion",
        "supports_embed": "embedding",
    }
    for key, word in words.items():
        if view.models:
            able = any(model.capabilities is None or word in model.capabilities for model in view.models)
            facts.say(key, "b", able)
        else:
            facts.lack(key, Reason("no_models"))


def _latency_ms(view: BackendView) -> int | None:
    """Expected time to the first token: learned, or else configured."""
    learned_s, configured_s = most_asked(view).ttft_s, view.spec.profile.ttft_s
    expected_s = configured_s if learned_s is None else learned_s
    return None if expected_s is None else int32(expected_s * 1000)
