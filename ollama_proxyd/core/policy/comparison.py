"""What was saved: the same request on the backend that the mode Performance would have chosen at the same moment."""

from dataclasses import dataclass

from ollama_proxyd.core.modes import Mode, ModeRow, ModeSetting
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.policy.priors import MOST
from ollama_proxyd.core.policy.rank import Assessment, best_under
from ollama_proxyd.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Comparison:
    """The backend that served, and the choice of Performance; they may be the same.

    Both energies are estimates for the same prompt and an answer of `expected_tokens`.
    """

    served: Ranked
    instead: Ranked
    expected_tokens: float

    @property
    def is_same(self) -> bool:
        """Whether Performance would have chosen no other backend."""
        return self.instead.backend_id == self.served.backend_id

    def saved_j(self, completion_tokens: int | None) -> float:
        """Joules saved, below zero where Performance would have needed less.

        On both sides the joules of decoding are scaled from the expected to the actual tokens. Loading, waking and
        reading the prompt do not depend on the answer and stay as estimated. Where the backend did not count its
        tokens, both estimates stand for the expected length.
        """
        if self.is_same:
            return 0.0
        share = 1.0
        if completion_tokens is not None and self.expected_tokens > 0:
            share = min(max(completion_tokens, 0), MOST) / self.expected_tokens
        return _energy_j(self.instead, share) - _energy_j(self.served, share)


_REASON = Reason("comparison")


def compare(decision: Decision, assessment: Assessment, performance: ModeRow) -> Comparison | None:
    """The comparison for a decision that has a backend; None where Performance would have had none.

    Where nothing could differ, in Performance itself or where the client named the backend, nothing is compared.
    """
    served = decision.ranked[0]
    if decision.effective_mode is Mode.PERFORMANCE or assessment.situation.query.hints.target is not None:
        return Comparison(served, served, decision.expected_tokens)
    best = best_under(assessment, ModeSetting(Mode.PERFORMANCE, Mode.PERFORMANCE, _REASON, performance))
    return None if best is None else Comparison(served, best, decision.expected_tokens)


def _energy_j(ranked: Ranked, share: float) -> float:
    return ranked.energy_j + (share - 1.0) * ranked.decode_j
