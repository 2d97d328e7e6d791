"""What is known of a backend, in D-Bus's words."""

from collections.abc import Mapping
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.readings import DeviceState, Maybe, PowerState, SystemState, Unavailable
from ollama_proxyd.edges.dbus_api.values import NO_COUNT, NOT_A_NUMBER, Facts, Plain, int32, int64, number
from ollama_proxyd.services.ledger import BackendTotals

_BYTES_PER_GB = 1_000_000_000
_NOT_LEARNED = "no request has shown it yet"


def is_healthy(view: BackendView) -> bool:
    """Whether it can serve."""
    return view.health is Health.UP


def row(view: BackendView) -> tuple[str, str, str, str, bool, float, int]:
    """One row of ListBackends."""
    spec = view.spec
    power_w, latency_ms = number(spec.profile.power_w), _latency_ms(view)
    latency = NO_COUNT if latency_ms is None else latency_ms
    return spec.id, spec.name, spec.kind.value, spec.hardware.value, is_healthy(view), power_w, latency


def steady(view: BackendView, system: SystemState) -> dict[str, Any]:
    """The properties whose changes are told at once."""
    spec, device = view.spec, device_of(view.spec, system.devices)
    return {
        "Id": spec.id,
        "Name": spec.name,
        "Hardware": spec.hardware.value,
        "State": view.health.value,
        "Reason": view.health_reason,
        "Models": [model.name for model in view.models],
        "Asleep": device is not None and device.power_state is PowerState.ASLEEP,
        "Enabled": view.health is not Health.DISABLED,
    }


def measured(view: BackendView, system: SystemState) -> dict[str, Any]:
    """The properties that move all the time, and what is not known."""
    device, plain, learned = device_of(view.spec, system.devices), Plain(), _learned(view)
    unbound = Unavailable(_why_unbound(view, system))
    plain.read("PowerWatts", device.power_w if device else unbound, NOT_A_NUMBER, number)
    plain.read("TemperatureCelsius", device.temperature_c if device else unbound, NOT_A_NUMBER, number)
    if learned.decode_tps is None:
        plain.unknown["TokensPerSecond"] = _NOT_LEARNED
    if (why_awake := _why_sleep_unknown(device, unbound)) is not None:
        plain.unknown["Asleep"] = why_awake
    return {
        **plain.values,
        "InFlight": view.in_flight,
        "TokensPerSecond": number(learned.decode_tps),
        "Unknown": plain.unknown,
    }


def details(view: BackendView) -> dict[str, Variant]:
    """What GetBackendDetails tells."""
    spec, facts = view.spec, Facts()
    for key, text in (("id", spec.id), ("name", spec.name), ("type", spec.kind.value), ("engine", spec.flavor)):
        facts.say(key, "s", text)
    facts.say("hardware", "s", spec.hardware.value)
    facts.say("endpoint", "s", spec.endpoint)
    facts.say("healthy", "b", is_healthy(view))
    facts.say("state", "s", view.health.value)
    facts.say("reason", "s", view.health_reason)
    facts.say("priority", "i", int32(spec.priority))
    facts.say("slots", "i", int32(view.slots))
    facts.say("supported_patterns", "as", list(spec.rules.supported))
    facts.say("excluded_patterns", "as", list(spec.rules.excluded))
    facts.say("preferred_models", "as", list(spec.rules.preferred))
    _optional(facts, "power_watts", "d", spec.profile.power_w, "nobody said what it draws")
    _optional(facts, "avg_latency_ms", "i", _latency_ms(view), "nobody said, and no request has shown it yet")
    most_bytes = spec.rules.max_size_bytes
    _optional(facts, "max_model_size_gb", "i", most_bytes and most_bytes // _BYTES_PER_GB, "there is no limit")
    _abilities(facts, view)
    return facts.body()


def metrics(view: BackendView, totals: BackendTotals) -> dict[str, Variant]:
    """What GetBackendMetrics tells."""
    facts, requests = Facts(), totals.requests
    facts.say("request_count", "x", requests)
    facts.say("success_count", "x", requests - totals.failures - totals.cancelled)
    facts.say("error_count", "x", totals.failures)
    facts.say("cancelled_count", "x", totals.cancelled)
    facts.say("tokens", "x", int64(totals.completion_tokens))
    facts.say("energy_joules", "d", number(totals.energy_j))
    facts.say("total_latency_ms", "x", int64(totals.busy_s * 1000))
    none_yet = "it has served no request yet"
    mean_ms = int32(totals.busy_s * 1000 / requests) if requests else None
    _optional(facts, "avg_latency_ms", "i", mean_ms, none_yet)
    _optional(facts, "error_rate", "d", 100 * totals.failures / requests if requests else None, none_yet)
    loaded = None if view.loaded is None else [model.name for model in view.loaded]
    _optional(facts, "loaded_models", "as", loaded, "its engine does not say which models are in memory")
    return facts.body()


def _optional(facts: Facts, key: str, signature: str, value: Any, why_not: str) -> None:
    if value is None:
        facts.lack(key, why_not)
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
            facts.lack(key, "it holds no models, as far as is known")


def _learned(view: BackendView) -> Speed:
    """The speed of its most asked model."""
    return max(view.speeds.values(), key=lambda speed: speed.samples, default=Speed())


def _latency_ms(view: BackendView) -> int | None:
    """Expected time to the first token: learned, or else configured."""
    learned_s, configured_s = _learned(view).ttft_s, view.spec.profile.ttft_s
    expected_s = configured_s if learned_s is None else learned_s
    return None if expected_s is None else int32(expected_s * 1000)


def _why_unbound(view: BackendView, system: SystemState) -> str:
    why = why_unbound(view.spec, system.devices)
    if why is not None:
        return why
    return "no sensor speaks for its device" if view.spec.is_local else "it does not run on this machine"


def _why_sleep_unknown(device: DeviceState | None, unbound: Maybe[float]) -> str | None:
    if device is None:
        return unbound.reason if isinstance(unbound, Unavailable) else None
    return "the device does not say whether it sleeps" if device.power_state is PowerState.UNKNOWN else None
