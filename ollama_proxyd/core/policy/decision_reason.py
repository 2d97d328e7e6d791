"""The reason of a routing decision, with its numbers."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.modes import Mode, ModeSetting
from ollama_proxyd.core.policy.balancing import rule_of
from ollama_proxyd.core.policy.cost import Demand
from ollama_proxyd.core.policy.decision import Ranked, Rejected
from ollama_proxyd.core.policy.eligibility import Situation
from ollama_proxyd.core.policy.mode_limits import Tier, is_any_too_busy, is_lifted, is_too_busy, tier
from ollama_proxyd.core.policy.obstacles import Obstacle, is_removed, nearest
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import WRITING, Operation

_TASKS: Mapping[Operation, str] = {
    Operation.EMBEDDING: "embedding",
    Operation.RERANKING: "ranking",
    Operation.INFILL: "filling",
    Operation.TRANSCRIPTION: "transcribing",
    Operation.TRANSLATION: "translating",
    Operation.SPEECH: "speaking",
    Operation.IMAGE: "drawing from",
}
"""What is done with the tokens of a prompt where none are written."""
_BALANCED = {
    Balancing.ROUND_ROBIN: "round_robin",
    Balancing.RANDOM: "random_choice",
    Balancing.LEAST_BUSY: "least_busy",
    Balancing.STICKY: "sticky",
}
_SHOWN = 6
"""How many rejections a reason names."""
_LOOKED_AT = 8
"""So many of the best backends are looked at for one that only its queue keeps from coming first."""


def why_chosen(situation: Situation, asked: Demand, ranked: Sequence[Ranked], *, is_any_within: bool) -> Reason:
    """Why the first of the ranked backends was chosen; `is_any_within` is whether one may be within the mode."""
    best, query, setting = ranked[0], situation.query, situation.setting
    values: dict[str, Any] = {
        "backend_id": best.backend_id,
        "is_estimated": best.is_guess,
        "energy_joules": best.energy_j,
        "money": best.money or None,
        "currency": None if best.tariff is None else best.tariff.costs.currency,
        "time_seconds": best.time_s,
        "queue_wait_seconds": best.queue_wait_s or None,
        "task": _TASKS.get(query.operation),
        "tokens": asked.output_tokens if query.operation in WRITING else asked.prompt_tokens,
    }
    if query.hints.target is not None:
        reason = Reason("target_named", **values)
    elif query.hints.frontend is not None and (rule := rule_of(query)) is not Balancing.ENERGY:
        frontend = query.hints.frontend
        header = frontend.sticky_header if rule is Balancing.STICKY else None
        reason = Reason(_BALANCED[rule], frontend=frontend.name, header=header, **values)
    else:
        code, more = _because(ranked, situation, is_any_within=is_any_within)
        reason = Reason(code, mode_label=_mode(setting, _wish(query, setting, asked)), **values, **more)
    return _although(reason, best.beyond, situation)


def _because(ranked: Sequence[Ranked], situation: Situation, *, is_any_within: bool) -> tuple[str, dict[str, Any]]:
    """Why the first comes before the others: the code, and what it tells of another backend.

    To look for one within the limits is to price all of a large fleet.
    """
    best, place = ranked[0], tier(ranked[0].beyond, situation)
    if is_any_within and len(ranked) > 1 and (busy := _kept_by_its_queue(ranked, situation)) is not None:
        (told,) = [limit.values for limit in busy.beyond if limit.code == "mode_wait"]
        values = {"backend_id": busy.backend_id, "queue_wait_seconds": busy.queue_wait_s}
        return "queue_too_long", {**_next(values), "waited_seconds": told.get("waited_seconds")}
    if place is Tier.BEYOND:
        others = islice(ranked, 1, None) if is_any_within else ()
        kept = next((each for each in others if tier(each.beyond, situation) is Tier.WITHIN), None)
        return ("none_within_mode", _alone(situation.query)) if kept is None else ("cheapest", _rival(kept))
    if len(ranked) == 1:
        return "only_candidate", _alone(situation.query)
    if place is Tier.LATE:
        return "none_in_time", {}
    rival = ranked[1]
    worst = Tier.BEYOND if is_too_busy(best.beyond) else Tier.WITHIN
    if place is Tier.WITHIN and tier(rival.beyond, situation) > worst:
        return _why_alone(ranked, situation), _alone(situation.query)
    return "trial" if place is Tier.WITHIN and best.cost_j > rival.cost_j else "cheapest", _rival(rival)


def _rival(other: Ranked) -> dict[str, Any]:
    return _next({"backend_id": other.backend_id, "energy_joules": other.energy_j, "time_seconds": other.time_s})


def _next(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"next_{name}": each for name, each in values.items()}


def _kept_by_its_queue(ranked: Sequence[Ranked], situation: Situation) -> Ranked | None:
    """The backend within the limits that would come first, were it not busy for longer than the mode waits.

    Beside one within the limits too it is looked for among the next few: all of a large fleet would have to be priced.
    """
    best, place = ranked[0], tier(ranked[0].beyond, situation)
    may_be = place in {Tier.WITHIN, Tier.BEYOND} and is_any_too_busy(situation)
    for each in islice(ranked, 1, None if place is Tier.BEYOND else _LOOKED_AT) if may_be else ():
        idle_j = each.cost_j - each.late_j - each.price_of_time_w * each.queue_wait_s
        is_kept = is_too_busy(each.beyond) and tier(each.beyond, situation) is Tier.WITHIN
        if is_kept and (place is Tier.BEYOND or idle_j < best.cost_j):
            return each
    return None


def _why_alone(ranked: Sequence[Ranked], situation: Situation) -> str:
    """Whether the others exceed the mode, or some only the request's deadline."""
    for each in ranked[1:] if situation.query.time_left_s is not None else ():
        standing = tuple([limit for limit in each.beyond if limit.code != "deadline_of_end"])
        if tier(standing, situation) is Tier.WITHIN:
            return "only_in_time"
    return "only_within_mode"


def _alone(query: Query) -> dict[str, Any]:
    """What is left out although it might serve: where the request was before."""
    former = ", ".join(sorted(query.tried)) or None
    return {"is_rest": query.able is not None or None, "former_backend_ids": former}


def _although(reason: Reason, exceeded: tuple[Reason, ...], situation: Situation) -> Reason:
    """The reason with the limits that gave way, and those that the request lifts."""
    if not exceeded:
        return reason
    lifted = tuple([each for each in exceeded if is_lifted(each, situation)])
    conceded = tuple([each for each in exceeded if each not in lifted])
    if lifted:
        reason = Reason("lifted", reason=reason, rejections=lifted)
    return Reason("although", reason=reason, rejections=conceded) if conceded else reason


def why_none(query: Query, rejected: Sequence[Rejected]) -> Reason:
    """Why no backend can serve a request, and what to do about it."""
    target = query.hints.target
    found = nearest(rejected, target)
    if found is None:
        return Reason("no_backend") if target is None or not rejected else Reason("unknown_target", target=target)
    obstacle, why = found
    is_absent = why[0].code == "model_not_held"
    if is_absent and target is None and query.model is not None:
        return Reason("model_held_nowhere", model=query.model)
    more = len(why) - _SHOWN if len(why) > _SHOWN else None
    return Reason("all_refused", rejections=why[:_SHOWN], more=more, advice=_advice(obstacle, why[0]))


def _advice(obstacle: Obstacle, no: Reason) -> str | None:
    """What helps; a backend that is no longer configured is not switched on."""
    return None if obstacle.advice is None or is_removed(no) else obstacle.advice.format_map(no.values)


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
