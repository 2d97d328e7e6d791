"""Which backend is tried although another seems cheaper: its prior may be wrong, and nothing else shows it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import NamedTuple, Protocol

from ollama_proxyd.core.fleet import BackendView, Hardware, Model
from ollama_proxyd.core.learning import ENOUGH_SAMPLES, Speed
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import WAKE_S
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.requests import Priority

DOUBT = 4.0
"""How many times too dear a backend is taken to seem at most, by its priors."""
DOUBT_AFTER_ONE = 2.0
"""The same where one request has shown the speed."""
SHARE = 0.25
"""What a trial may cost at most, as a share of what the requests for the model came to so far."""
_UNSEEN = Speed()


class Fit(Protocol):
    """The backends that can do the work, and until when enough is known of each."""

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each."""

    @property
    def speeds(self) -> Sequence[Speed | None]:
        """What was learned of each."""

    @property
    def known_until_s(self) -> float:
        """Until when there is nothing to try."""

    def is_unknown(self, number: int, now_s: float) -> bool:
        """Whether there is something to try of one of them."""

    def candidate(self, number: int) -> Candidate:
        """One of them."""


_NO_LIMITS = (None,) * 5
_NO_CARDS = frozenset({*WAKE_S, Hardware.CPU})


class Outlook(NamedTuple):
    """What is known before any is priced: the numbers of those within the mode, and what each costs at least."""

    within: Iterable[int]
    least_j: Sequence[float]
    """Joules, by the numbers; nothing where it is not known."""

    def has_any(self, fit: Fit, best: int, most_j: float, now_s: float) -> bool:
        """Whether one but the best may be tried for so many joules."""
        least_j = self.least_j
        for each in self.within if least_j else ():
            if least_j[each] <= most_j and each != best and fit.is_unknown(each, now_s):
                return True
        return not least_j


def trial(fit: Fit, ranked: Sequence[Ranked], query: Query, outlook: Outlook) -> Ranked | None:
    """The backend that this request tries; None where it goes to the cheapest.

    Tried is what fewer than two answers have shown, while it is idle and could be the best were its priors wrong.
    Work in the background tries at once; other requests only what costs little beside all that the model's requests
    came to. None wakes a graphics card for it. A request with a limit or a wish of its own tries nothing. While any
    backend is busy nothing is tried: what is left seems cheap beside it.
    """
    if query.now_s < fit.known_until_s or len(ranked) < 2 or ranked[0].beyond or not _may_try(query):
        return None
    numbers, best = fit.numbers, ranked[0]
    if not numbers.keys().isdisjoint(query.waits_s):
        return None
    served = sum([each.samples for each in fit.speeds if each is not None])
    most_j = SHARE * served * best.cost_j
    if served and query.urgency is Priority.BEST_EFFORT:
        most_j = inf
    bound_j = min(max(DOUBT * best.cost_j, 0.0), most_j)
    if not outlook.has_any(fit, numbers[best.backend_id], bound_j, query.now_s):
        return None
    for each in islice(ranked, 1, None):
        if each.beyond or each.cost_j > bound_j:
            return None
        candidate = fit.candidate(numbers[each.backend_id])
        doubt = 0.0 if _wakes_card(candidate, each) else _doubt(candidate, query)
        if each.cost_j <= min(doubt * best.cost_j, most_j):
            return each
    return None


def known_until_s(view: BackendView, model: Model) -> float:
    """Until when what was learned of a backend leaves nothing to try; a second before, since logarithms are rounded."""
    if not view.spec.is_local:
        return inf  # it is never tried
    return view.speeds.get(model.name, _UNSEEN).weighs_until_s(ENOUGH_SAMPLES - 0.5) - 1


def all_known_until_s(found: Iterable[object]) -> float:
    """Until when that holds for all candidates among them."""
    return min([each.known_until_s for each in found if isinstance(each, Candidate)], default=inf)


def _may_try(query: Query) -> bool:
    """Whether a request leaves its backend open: those with limits, a hurry or a failure behind them do not."""
    hints = query.hints
    limits = (hints.target, hints.max_latency_ms, hints.max_power_watts, query.time_left_s, query.able)
    has_wish = hints.latency_critical or hints.strict_limits or query.urgency > Priority.NORMAL
    return not has_wish and not query.tried and limits == _NO_LIMITS


def _wakes_card(candidate: Candidate, priced: Ranked) -> bool:
    """Whether a trial would wake a graphics card, or keep it awake for minutes by a model that it loads there."""
    is_card = candidate.view.spec.hardware not in _NO_CARDS
    return is_card and priced.stay.wake_s + priced.stay.load_s > 0


def _doubt(candidate: Candidate, query: Query) -> float:
    """How many times dearer than the best a backend may seem and be tried: an idle one of which too little is known."""
    view, seen = candidate.view, round(_speed(candidate).weight_at(query.now_s))
    if seen >= ENOUGH_SAMPLES or not view.spec.is_local or view.in_flight or view.degraded:
        return 0.0
    return DOUBT_AFTER_ONE if seen else DOUBT


def _speed(candidate: Candidate) -> Speed:
    return candidate.view.speeds.get(candidate.model.name, _UNSEEN)
