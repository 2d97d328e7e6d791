"""Events of an answer and the state of backends, as messages."""

from typing import Any

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.events import Finished
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.edges.grpc_api import compute_pb2 as pb
from ollama_proxyd.services.ledger import BackendTotals

_J_PER_WH = 3600.0
_MOST = 2**31 - 1
_EMBEDS = "embedding"


def routing(first: Routed) -> Any:
    """Where a request went, and why."""
    decision = first.decision
    used = next((each for each in decision.ranked if each.backend_id == first.backend_id), None)
    told = pb.RoutingMetadata(
        backend=first.backend_id,
        reason=str(decision.reason),
        alternatives=decision.named_alternatives(first.backend_id),
        queue_wait_ms=whole(first.queue_wait_s * 1000),
        ignored_fields=first.ignored_fields,
    )
    if used is not None:
        told.estimated_power_watts = used.power_w
        told.estimated_latency_ms = whole(used.latency_ms)
        told.estimated_energy_joules = used.energy_j
    return told


def stats(finished: Finished, spent_s: float, ttft_s: float | None) -> Any:
    """What an answer came to."""
    tokens, energy = finished.usage.completion_tokens, finished.energy
    told = pb.GenerationStats(total_time_ms=whole(spent_s * 1000), finish_reason=finished.reason.value)
    if ttft_s is not None:
        told.time_to_first_token_ms = whole(ttft_s * 1000)
    if tokens is not None:
        told.tokens_generated = tokens
        if spent_s > 0:
            told.tokens_per_second = tokens / spent_s
    if finished.usage.prompt_tokens is not None:
        told.prompt_tokens = finished.usage.prompt_tokens
    if energy is not None:
        told.energy_wh, told.energy_source = energy.total_j / _J_PER_WH, energy.source.value
    return told


def backend(view: BackendView, system: SystemState, totals: BackendTotals, checked_unix_s: float | None) -> Any:
    """A backend now."""
    spec, reason = view.spec, view.reason
    told = pb.BackendInfo(id=spec.id, type=spec.api.value, name=spec.name, hardware=spec.hardware.value)
    told.status.state, told.status.message = state(view), "" if reason is None else str(reason)
    if checked_unix_s is not None:
        told.status.last_check_unix = int(checked_unix_s)
    abilities = [each.capabilities for each in view.models]
    told.capabilities.generate = told.capabilities.stream = True
    told.capabilities.embed = any(each is None or _EMBEDS in each for each in abilities)
    told.capabilities.models.extend(each.name for each in view.models)
    contexts = [each.context_length for each in view.models if each.context_length is not None]
    if contexts:
        told.capabilities.max_context = whole(max(contexts))
    _tell_metrics(told.metrics, view, system, totals)
    return told


def _tell_metrics(told: Any, view: BackendView, system: SystemState, totals: BackendTotals) -> None:
    spec = view.spec
    device = device_of(spec, system.devices)
    told.loaded_models.extend(each.name for each in view.loaded or ())
    seen = [speed.ttft_s for speed in learned(view.speeds).values() if speed.ttft_s is not None]
    ttft_s = seen[0] if seen else spec.profile.ttft_s
    if ttft_s is not None:
        told.avg_latency_ms = whole(ttft_s * 1000)
    if totals.requests:
        told.error_rate = totals.failures / totals.requests
    if device is not None and isinstance(device.power_w, Reading):
        told.power_watts = device.power_w.value


def state(view: BackendView) -> str:
    """Whether a backend serves, in the word of the earlier ollama-proxy."""
    return "healthy" if view.can_serve else "unhealthy"


def whole(number: float) -> int:
    """A whole number that an int32 holds."""
    return min(round(number), _MOST)
