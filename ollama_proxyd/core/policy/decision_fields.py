"""A routing decision as plain data, the same on every surface."""

from ollama_proxyd.core.energy import ESTIMATE_ERROR, Source
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.reasons import reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.units import spelled


def decision_fields(decision: Decision) -> dict[str, Json]:
    """A decision with every term by its name."""
    return {
        "backend": decision.ranked[0].backend_id if decision.ranked else None,
        **reason_fields(decision.reason),
        "mode": decision.mode.value,
        "effective_mode": decision.effective_mode.value,
        **{f"mode_{key}": value for key, value in reason_fields(decision.mode_reason).items()},
        "conceded": [reason_fields(each) for each in decision.conceded],
        "ranked": [_ranked(each) for each in decision.ranked],
        "rejected": [_rejected(each) for each in decision.rejected],
    }


def _ranked(each: Ranked) -> Json:
    return {
        "backend_id": each.backend_id,
        "model": each.model,
        "cost_joules": each.cost_j,
        "energy_joules": each.energy_j,
        "energy_source": Source.ESTIMATED.value,
        "energy_error_joules": each.energy_j * ESTIMATE_ERROR,
        "latency_ms": each.latency_ms,
        "power_watts": each.power_w,
        "terms": {spelled(name): value for name, value in each.terms.items()},
        "notes": [reason_fields(note) for note in each.notes],
        "is_guess": each.is_guess,
        "beyond": [reason_fields(limit) for limit in each.beyond],
    }


def _rejected(each: Rejected) -> Json:
    return {
        "backend_id": each.backend_id,
        "rejections": [reason_fields(no) for no in each.rejections],
    }
