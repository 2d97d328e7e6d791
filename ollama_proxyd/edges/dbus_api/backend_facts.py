"""What is known of a backend, in D-Bus's words."""

from collections.abc import Iterable
from typing import Any

from dbus_fast import Variant

from ollama_proxyd.core.backend_status import LOADED_UNKNOWN, most_asked, rated_power_watts
from ollama_proxyd.core.fleet import BYTES_PER_GB, BackendView
from ollama_proxyd.core.policy.priors import measured_power_w
from ollama_proxyd.core.readings import Unavailable
from ollama_proxyd.core.status import EnergyAccount
from ollama_proxyd.edges.dbus_api.values import NO_REQUEST_YET, facts, int32, percent_of, reason_facts
from ollama_proxyd.services.ledger import BackendTotals


def is_healthy(view: BackendView) -> bool:
    """Whether it can serve."""
    return view.can_serve


def row(view: BackendView) -> dict[str, Variant]:
    """One row of ListBackends."""
    return facts(_row(view))


def _row(view: BackendView) -> dict[str, tuple[str, Any]]:
    spec = view.spec
    return {
        "id": ("s", spec.id),
        "name": ("s", spec.name),
        "type": ("s", spec.api.value),
        "hardware": ("s", spec.hardware.value),
        "healthy": ("b", is_healthy(view)),
        "rated_power_watts": ("d", rated_power_watts(view)),
        "avg_latency_ms": ("i", _or(_latency_ms(view), _NOT_CONFIGURED_OR_LEARNED)),
    }


def details(view: BackendView) -> dict[str, Variant]:
    """What GetBackendDetails tells."""
    spec, rules, most_bytes = view.spec, view.spec.rules, view.spec.rules.max_size_bytes
    rows: dict[str, tuple[str, Any]] = {
        **_row(view),
        "engine": ("s", spec.flavor),
        "endpoint": ("s", spec.endpoint),
        "health": ("s", view.told_health),
        "priority": ("i", spec.priority),
        "slots": ("i", view.slots),
        "slots_from": ("s", view.slots_from.value),
        "supported_patterns": ("as", rules.supported),
        "excluded_patterns": ("as", rules.excluded),
        "preferred_models": ("as", rules.preferred),
        "measured_power_watts": ("d", _or(measured_power_w(view), _NOT_MEASURED)),
        "unit": ("s", spec.unit),
        "off": ("b", view.is_off),
        "machine": ("s", spec.machine),
        "max_model_size_gb": ("d", _or(most_bytes and most_bytes / BYTES_PER_GB, _NO_LIMIT)),
        "supports_generate": ("b", _can(view, "completion")),
        "supports_stream": ("b", _can(view, "completion")),
        "supports_embed": ("b", _can(view, "embedding")),
    }
    return {**facts(rows), **reason_facts(view.reason)}


def metrics(view: BackendView, totals: BackendTotals) -> dict[str, Variant]:
    """What GetBackendMetrics tells."""
    requests = totals.requests
    return facts(
        {
            "request_count": ("x", requests),
            "success_count": ("x", requests - totals.failures - totals.cancelled),
            "error_count": ("x", totals.failures),
            "cancelled_count": ("x", totals.cancelled),
            "completion_tokens": ("x", totals.completion_tokens),
            "energy_joules": ("d", totals.energy_j),
            "energy_source": ("s", totals.energy_source.value if totals.energy_source else NO_REQUEST_YET),
            "energy_error_joules": ("d", totals.energy_error_j),
            "busy_ms": ("x", totals.busy_s * 1000),
            "avg_busy_ms": ("i", totals.busy_s * 1000 / requests if requests else NO_REQUEST_YET),
            "error_rate": ("d", percent_of(requests, totals.failures)),
            "loaded_models": ("as", LOADED_UNKNOWN if view.loaded is None else [model.name for model in view.loaded]),
        }
    )


def account_rows(accounts: Iterable[EnergyAccount]) -> list[dict[str, Variant]]:
    """What GetEnergyAccounts tells."""
    return [
        facts(
            {
                "device": ("s", each.device),
                "account": ("s", each.account),
                "source": ("s", each.source),
                **{key: ("d", _joules(each, getattr(each, key))) for key in _JOULES},
            }
        )
        for each in accounts
    ]


_JOULES = ("today_joules", "today_error_joules", "total_joules", "total_error_joules")


def _joules(account: EnergyAccount, joules: float | None) -> float | Unavailable | None:
    return Unavailable(account.reason) if joules is None and account.reason is not None else joules


_NOT_MEASURED = Unavailable.because("not_measured")
_NOT_CONFIGURED_OR_LEARNED = Unavailable.because("not_configured_or_learned")
_NO_LIMIT = Unavailable.because("no_limit")
_NO_MODELS = Unavailable.because("no_models")


def _or(value: float | None, otherwise: Unavailable) -> float | Unavailable:
    return otherwise if value is None else value


def _can(view: BackendView, capability: str) -> bool | Unavailable:
    """What its models can do, as far as they say; one that says nothing is taken to do everything."""
    if not view.models:
        return _NO_MODELS
    return any(model.capabilities is None or capability in model.capabilities for model in view.models)


def _latency_ms(view: BackendView) -> int | None:
    """Expected time to the first token: learned, or else configured."""
    learned_s, configured_s = most_asked(view).ttft_s, view.spec.profile.ttft_s
    expected_s = configured_s if learned_s is None else learned_s
    return None if expected_s is None else int32(expected_s * 1000)
