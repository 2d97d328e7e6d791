"""The outcome of routing: every backend ranked or rejected, with its reasons by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from ollama_proxyd.core.modes import Mode


@dataclass(frozen=True, slots=True)
class Ranked:
    """A backend that can serve, and what that would cost.

    `terms` holds every term of the formula by name with its unit as suffix (queue_wait_s, wake_s, load_s,
    prefill_s, decode_s, time_s, prefill_j, decode_j, load_j, wake_j, idle_tail_j, energy_j,
    price_of_time_w, cost_j, power_w, latency_ms). `notes` say what is estimated and how it was known.
    """

    backend_id: str
    model: str
    """The backend's own name for the model."""
    cost_j: float
    energy_j: float
    latency_ms: float
    """Estimated time to the first token."""
    power_w: float
    terms: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One rule that excludes a backend: a stable code, and a sentence with the numbers."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A backend that cannot serve this request now, and every rule that says so."""

    backend_id: str
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes: `ranked` cheapest first; every backend is in exactly one of the two lists.

    `mode` is what was chosen, `effective_mode` what Auto made of it; `reason` is one readable sentence.
    """

    ranked: tuple[Ranked, ...]
    rejected: tuple[Rejected, ...]
    mode: Mode
    effective_mode: Mode
    mode_reason: str
    reason: str
