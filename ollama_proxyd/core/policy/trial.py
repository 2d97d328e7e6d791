"""Which backend is tried although another seems cheaper: its prior may be wrong, and nothing else shows it."""

from collections.abc import Mapping, Sequence

from ollama_proxyd.core.learning import ENOUGH_SAMPLES, Speed
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import measured_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Priority

DOUBT = 4.0
"""How many times too pessimistic each prior is taken to be at most, the watts and the speed."""
DOUBT_AFTER_ONE = 2.0
"""The same where one request has shown the speed."""
SHARE = 0.25
"""What a trial may cost at most, as a share of what the requests for the model came to so far."""
_UNSEEN = Speed()


def trial(fit: Sequence[tuple[Candidate, Ranked]], ranked: Sequence[Ranked], query: Query) -> Ranked | None:
    """The backend that this request tries; None where it goes to the cheapest.

    Tried is what fewer than two answers have shown, while it is idle and could be the best were its prior wrong.
    Work in the background tries at once; other requests only what costs little beside all that the model's requests
    came to, and they wake no device for it. A request with a limit or a wish of its own tries nothing.
    """
    if len(ranked) < 2 or ranked[0].beyond or not _may_try(query):
        return None
    best, found = ranked[0], {priced.backend_id: candidate for candidate, priced in fit}
    others = [each for each in ranked[1:] if not each.beyond and _is_unknown(found[each.backend_id], query)]
    if not others:
        return None
    served = sum([_speed(each).samples for each in found.values()])
    is_background = query.urgency is Priority.BEST_EFFORT
    costs_j: Mapping[float, Ranked] = {
        _at_best_j(found[each.backend_id], each, query): each
        for each in others
        if served and (is_background or (not each.terms["wake_s"] and each.cost_j <= SHARE * served * best.cost_j))
    }
    least_j = min(costs_j, default=best.cost_j)
    return costs_j[least_j] if least_j < best.cost_j else None


def _may_try(query: Query) -> bool:
    """Whether a request leaves its backend open: those with limits, a hurry or a failure behind them do not."""
    hints = query.hints
    limits = (hints.target, hints.max_latency_ms, hints.max_power_watts, query.time_left_s, query.able)
    has_wish = hints.latency_critical or hints.strict_limits or query.urgency > Priority.NORMAL
    return not has_wish and not query.tried and all(each is None for each in limits)


def _is_unknown(candidate: Candidate, query: Query) -> bool:
    """Whether a backend of this machine is idle, and too little is known of it."""
    view = candidate.view
    is_idle = view.spec.is_local and view.in_flight == 0 and not view.degraded
    return is_idle and round(_speed(candidate).weight_at(query.now_s)) < ENOUGH_SAMPLES


def _at_best_j(candidate: Candidate, priced: Ranked, query: Query) -> float:
    """What a request would cost were the priors as wrong as they may be; what is measured is not."""
    terms, seen = priced.terms, _speed(candidate).weight_at(query.now_s)
    doubt = DOUBT if seen < 0.5 else DOUBT_AFTER_ONE
    doubt_of_w = 1.0 if measured_power_w(candidate.view) is not None else doubt
    price_w, work_s = terms["price_of_time_w"], (terms["prefill_s"] + terms["decode_s"])
    least_j = (priced.power_w / doubt_of_w + price_w) * work_s / doubt
    return priced.cost_j - (priced.power_w + price_w) * work_s + least_j


def _speed(candidate: Candidate) -> Speed:
    return candidate.view.speeds.get(candidate.model.name, _UNSEEN)
