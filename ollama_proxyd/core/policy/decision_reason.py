"""The reason of a routing decision, with its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.cost import Demand
from ollama_proxyd.core.policy.decision import Ranked, Rejected
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Operation

_ADVICE: Mapping[str, str] = {
    "mode_power": "choose a mode that allows more, or name a backend as the target",
    "mode_concurrency": "try again, choose another mode, or name a backend as the target",
    "game": "end the game, or name a backend as the target",
    "hint_power": "raise the request's limit of power",
    "hint_latency": "raise the request's limit of latency",
    "deadline": "allow the request more time",
}
_SHOWN = 6
"""How many rejections a reason names."""


def why_chosen(query: Query, setting: ModeSetting, asked: Demand, ranked: Sequence[Ranked]) -> Reason:
    """Why the first of the ranked backends was chosen."""
    best = ranked[0]
    is_embedding = query.operation is Operation.EMBEDDING
    values: dict[str, Any] = {
        "backend_id": best.backend_id,
        "is_estimated": best.is_guess,
        "energy_joules": best.energy_j,
        "time_seconds": best.terms["time_s"],
        "queue_wait_seconds": best.terms["queue_wait_s"] or None,
        "is_embedding": is_embedding,
        "tokens": asked.prompt_tokens if is_embedding else asked.output_tokens,
    }
    if query.hints.target is not None:
        return Reason("target_named", **values)
    values["mode_label"] = _mode(setting, _wish(query, setting, asked))
    if len(ranked) == 1:
        return Reason("only_candidate", **values)
    rival = ranked[1]
    return Reason(
        "cheapest",
        next_backend_id=rival.backend_id,
        next_energy_joules=rival.energy_j,
        next_time_seconds=rival.terms["time_s"],
        **values,
    )


def why_none(query: Query, setting: ModeSetting, rejected: Sequence[Rejected]) -> Reason:
    """Why no backend can serve a request, and what to do about it."""
    target = query.hints.target
    if not rejected:
        return Reason("no_backend")
    decisive = _decisive(query, rejected)
    if not decisive:
        return Reason("unknown_target", target=target)
    codes = list(dict.fromkeys(no.code for no in decisive))
    if codes == ["model_not_held"] and target is None and query.model is not None:
        return Reason("model_held_nowhere", model=query.model)
    why = tuple({str(no): no for code in codes for no in decisive if no.code == code}.values())
    advice = tuple(_ADVICE[code] for code in codes if code in _ADVICE) or None
    if target is not None:
        return Reason("target_refused", rejections=why[:_SHOWN], advice=advice)
    more = len(why) - _SHOWN if len(why) > _SHOWN else None
    return Reason("all_refused", mode_label=_mode(setting, ""), rejections=why[:_SHOWN], more=more, advice=advice)


def _decisive(query: Query, rejected: Sequence[Rejected]) -> list[Reason]:
    """The first rule against each backend, or against the target alone."""
    target = query.hints.target
    return [each.rejections[0] for each in rejected if target is None or each.backend_id == target]


def _wish(query: Query, setting: ModeSetting, asked: Demand) -> str:
    """In which respect the request's own price of time differs from the mode's."""
    if asked.price_of_time_w == setting.row.price_of_time_w:
        return ""
    if asked.price_of_time_w:
        return "latency-critical"
    return "power-efficient" if query.hints.power_efficient else "in the background"


def _mode(setting: ModeSetting, wish: str) -> str:
    label = setting.row.label
    if setting.wanted is Mode.AUTO:
        return f"Auto ({label}, {wish})" if wish else f"Auto ({label})"
    return f"{label} ({wish})" if wish else label
