"""For how long a request that waits goes on to prefer its backend while nothing happens."""

from collections.abc import Iterator
from itertools import islice
from math import inf

from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.policy.mode_limits import LATE_PRICE_W, is_too_busy, longest_wait_s
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.workload import OVERDUE_SHARE

AFTER_S = 0.001
"""What is equal at a moment differs after it."""
LOOKED_AT = 8
"""So many of the best backends are looked at for those that are free."""


def patience_s(decision: Decision, query: Query, row: ModeRow, grows_in_s: float) -> float:
    """How long at least the choice for a request that waits stands, if nothing but time passes; `inf`: for ever.

    The estimated wait for its backend falls with the time, until what is under way there is overdue, in `grows_in_s`.
    From then on it grows. What grows with it is the cost, beside that of the cheapest that is free, and the time beyond
    each limit. A backend that failed may be tried again. How long unused models stay is left out.
    """
    best = decision.ranked[0]
    rate_w, apart_s = best.price_of_time_w * OVERDUE_SHARE, 1 + OVERDUE_SHARE
    if is_too_busy(best.beyond):
        rate_w += max(LATE_PRICE_W - best.price_of_time_w, 0.0) * apart_s
    looked_at = islice(decision.ranked, 1, LOOKED_AT)
    free_j = min([each.cost_j for each in looked_at if each.backend_id not in query.waits_s], default=None)
    left_s = [slack_s / apart_s for slack_s in _slacks_s(best, query, row)]
    if free_j is not None and rate_w > 0:
        left_s.append((free_j - best.cost_j) / rate_w)
    found_s = [grows_in_s + each + AFTER_S for each in left_s if each > -AFTER_S]
    return min([*found_s, *_rests_s(decision)], default=inf)


def _rests_s(decision: Decision) -> Iterator[float]:
    """After which times backends that failed may be tried again."""
    nos = (no for each in decision.rejected for no in each.rejections if no.code == "set_aside")
    return (left_s for no in nos if isinstance(left_s := no.values.get("left_seconds"), float))


def _slacks_s(best: Ranked, query: Query, row: ModeRow) -> list[float]:
    """How much later it might begin or end before it exceeds a limit of the mode or of the request."""
    limits_s = [(longest_wait_s(row, query), query.waited_s + best.queue_wait_s)]
    limits_s += [(query.time_left_s, best.time_s), (query.time_left_s, best.latency_ms / 1000)]
    if query.hints.max_latency_ms is not None:
        limits_s.append((query.hints.max_latency_ms / 1000, query.waited_s + best.latency_ms / 1000))
    return [limit_s - expected_s for limit_s, expected_s in limits_s if limit_s is not None]
