"""The reason of a routing decision, with its numbers."""

from collections.abc import Sequence
from typing import Any

from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.cost import Demand
from ollama_proxyd.core.policy.decision import Ranked, Rejected
from ollama_proxyd.core.policy.eligibility import Situation
from ollama_proxyd.core.policy.mode_limits import Tier, is_lifted, is_too_busy, tier
from ollama_proxyd.core.policy.obstacles import nearest
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Operation

_SHOWN = 6
"""How many rejections a reason names."""


def why_chosen(situation: Situation, asked: Demand, ranked: Sequence[Ranked]) -> Reason:
    """Why the first of the ranked backends was chosen."""
    best, query, setting = ranked[0], situation.query, situation.setting
    is_embedding = query.operation is Operation.EMBEDDING
    values: dict[str, Any] = {
        "backend_id": best.backend_id,
        "is_estimated": best.is_guess,
        "energy_joules": best.energy_j,
        "money": best.money or None,
        "currency": None if best.tariff is None else best.tariff.costs.currency,
        "time_seconds": best.time_s,
        "queue_wait_seconds": best.queue_wait_s or None,
        "is_embedding": is_embedding,
        "tokens": asked.prompt_tokens if is_embedding else asked.output_tokens,
    }
    if query.hints.target is not None:
        reason = Reason("target_named", **values)
    else:
        code, more = _because(ranked, situation)
        reason = Reason(code, mode_label=_mode(setting, _wish(query, setting, asked)), **values, **more)
    return _although(reason, best.beyond, situation)


def _because(ranked: Sequence[Ranked], situation: Situation) -> tuple[str, dict[str, Any]]:
    """Why the first comes before the others: the code, and what it tells of another backend."""
    best, *others = ranked
    place = tier(best.beyond, situation)
    if place in {Tier.BEYOND, Tier.LATE}:
        return _why_beyond(others)
    if not others:
        return "only_candidate", {}
    rival = others[0]
    is_alone = tier(rival.beyond, situation) is not Tier.WITHIN and not is_too_busy(best.beyond)
    if place is Tier.WITHIN and is_alone:
        return "only_within_mode", {}
    values = {"energy_joules": rival.energy_j, "time_seconds": rival.time_s}
    code = "trial" if place is Tier.WITHIN and best.cost_j > rival.cost_j else "cheapest"
    return code, {"next_backend_id": rival.backend_id, **{f"next_{name}": each for name, each in values.items()}}


def _why_beyond(others: Sequence[Ranked]) -> tuple[str, dict[str, Any]]:
    """Why a limit of the mode gave way: what keeps them all is too busy, or there is none."""
    for each in others:
        if [limit.code for limit in each.beyond] == ["mode_wait"]:
            return "queue_too_long", {
                "next_backend_id": each.backend_id,
                "next_queue_wait_seconds": each.queue_wait_s,
            }
    return "none_within_mode", {}


def _although(reason: Reason, exceeded: tuple[Reason, ...], situation: Situation) -> Reason:
    """The reason with the limits that gave way, and those that the request lifts."""
    lifted = tuple([each for each in exceeded if is_lifted(each, situation)])
    conceded = tuple([each for each in exceeded if each not in lifted])
    if lifted:
        reason = Reason("lifted", reason=reason, rejections=lifted)
    return Reason("although", reason=reason, rejections=conceded) if conceded else reason


def why_none(query: Query, rejected: Sequence[Rejected]) -> Reason:
    """Why no backend can serve a request, and what to do about it."""
    target = query.hints.target
    if not rejected:
        return Reason("no_backend")
    found = nearest(rejected, target)
    if found is None:
        return Reason("unknown_target", target=target)
    obstacle, why = found
    is_absent = why[0].code == "model_not_held"
    if is_absent and target is None and query.model is not None:
        return Reason("model_held_nowhere", model=query.model)
    advice = None if obstacle.advice is None else obstacle.advice.format_map(why[0].values)
    more = len(why) - _SHOWN if len(why) > _SHOWN else None
    return Reason("all_refused", rejections=why[:_SHOWN], more=more, advice=advice)


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
