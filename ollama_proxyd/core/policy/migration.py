"""Whether a long answer is better written to its end on another backend: everything in joules, moving included."""

from typing import NamedTuple

from ollama_proxyd.core.frontends import Balancing
from ollama_proxyd.core.policy.balancing import rule_of
from ollama_proxyd.core.policy.cost import TYPICAL_OUTPUT_TOKENS
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.mode_limits import Tier, tier
from ollama_proxyd.core.policy.rank import Assessment, decide
from ollama_proxyd.core.reasons import Reason

LEAST_LEFT_TOKENS = 64
"""A shorter rest is written before a move would show."""
LEAST_STAY_S = 10.0
"""How long an answer stays where it is before it may move, and between two moves."""


class Move(NamedTuple):
    """A place where the rest of an answer is better off."""

    backend_id: str
    why: Reason


def tokens_left(spoken: int, limit: int | None) -> int:
    """How long the rest of an answer is taken to be: one that is longer than usual goes on as long again."""
    left = int(max(TYPICAL_OUTPUT_TOKENS - spoken, spoken))
    return left if limit is None else min(left, limit)


def better_place(assessment: Assessment, backend_id: str) -> Move | None:
    """Where the rest of an answer should go that `backend_id` is writing; None where it is best there.

    The move pays waiting, waking, loading and the prefill of all that is there so far; who stays only goes on writing.
    A device that a game needs or that its heat holds back is left at once.
    """
    decision = decide(assessment)
    target = next((each for each in decision.ranked if each.backend_id != backend_id), None)
    if target is None:
        return None
    here = next((each for each in decision.ranked if each.backend_id == backend_id), None)
    if here is None:
        why = next((each.rejections for each in decision.rejected if each.backend_id == backend_id), ())
        return Move(target.backend_id, why[0]) if why else None
    spared = [each for each in here.beyond if tier((each,), assessment.situation) is Tier.SPARED]
    if spared and not target.beyond:
        return Move(target.backend_id, spared[0])
    if rule_of(assessment.situation.query) is not Balancing.ENERGY:
        return None
    saved_j = staying_j(here) - target.cost_j
    return Move(target.backend_id, Reason("move_saves", saved_joules=saved_j)) if saved_j > 0 else None


def staying_j(here: Ranked) -> float:
    """What it costs to go on writing where the prompt is read already."""
    working_s = here.prefill_s + here.decode_s
    heat_j = here.heat_j * here.decode_s / working_s if working_s else 0.0
    return here.decode_j + heat_j + here.price_of_time_w * here.decode_s
