"""What was saved: the same request on the backend that the mode Performance would have chosen at the same moment."""

from collections.abc import Callable
from typing import NamedTuple

from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.modes import Mode, ModeRow, ModeSetting
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.policy.priors import MOST
from ollama_proxyd.core.policy.rank import Assessment, best_under, has_no_choice
from ollama_proxyd.core.policy.residence import Upkeep
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import replace, value


class Side(NamedTuple):
    """An answer on a backend; `costs` are those of its model's place in memory, None where that is not known."""

    ranked: Ranked
    costs: Upkeep | None
    share: float
    """The answer's length as a share of the expected."""

    @property
    def work_j(self) -> float:
        """Reading the prompt and writing the answer."""
        ranked = self.ranked
        return ranked.power_w * ranked.crowd.share * (ranked.prefill_s + self.share * ranked.decode_s)

    @property
    def busy_s(self) -> float:
        """How long that takes, with loading and waking where they were expected."""
        ranked = self.ranked
        return ranked.stay.wake_s + ranked.stay.load_s + ranked.prefill_s + self.share * ranked.decode_s


@value
class Comparison:
    """The backend that served, and the choice of Performance; they may be the same.

    Both energies are estimates for the same prompt and an answer of `expected_tokens`.
    """

    served: Ranked
    instead: Ranked
    expected_tokens: float
    costs: tuple[Upkeep | None, Upkeep | None] = (None, None)
    """What the models' places in memory cost there and there."""

    @property
    def is_same(self) -> bool:
        """Whether Performance would have chosen no other backend."""
        return self.instead.backend_id == self.served.backend_id

    def sides(self, completion_tokens: int | None) -> tuple[Side, Side]:
        """Both for an answer of this length; the expected one where the backend did not count its tokens."""
        share = 1.0
        if completion_tokens is not None and self.expected_tokens > 0:
            share = min(max(completion_tokens, 0), MOST) / self.expected_tokens
        return Side(self.served, self.costs[0], share), Side(self.instead, self.costs[1], share)


_REASON = Reason("comparison")


def compare(
    decision: Decision, assessment: Assessment, performance: ModeRow, instead: Callable[[FleetView], FleetView]
) -> Comparison | None:
    """The comparison for a decision that has a backend; None where Performance would have had none.

    `instead` tells how backends would be: Performance chooses by what it would have in memory itself, since what lies
    warm there drew later requests. Where nothing could differ, in Performance itself or where it has no choice, nothing
    is compared.
    """
    served = decision.ranked[0]
    if decision.effective_mode is Mode.PERFORMANCE or has_no_choice(assessment, performance):
        return _comparison(decision, assessment, served)
    fleet, setting = instead(assessment.fleet), ModeSetting(Mode.PERFORMANCE, Mode.PERFORMANCE, _REASON, performance)
    best = best_under(assessment if fleet is assessment.fleet else replace(assessment, fleet=fleet), setting)
    return None if best is None else _comparison(decision, assessment, best)


def _comparison(decision: Decision, assessment: Assessment, instead: Ranked) -> Comparison:
    served = decision.ranked[0]
    costs = _costs(assessment, served.backend_id)
    of_both = costs, costs if instead is served else _costs(assessment, instead.backend_id)
    return Comparison(served, instead, decision.expected_tokens, of_both)


def _costs(assessment: Assessment, backend_id: str) -> Upkeep | None:
    """What the model's place in memory costs on a backend."""
    number = assessment.table.numbers.get(backend_id)
    candidate = None if number is None else assessment.table.candidate(number)
    return None if candidate is None or candidate.view.loaded is None else candidate.keeping.costs
