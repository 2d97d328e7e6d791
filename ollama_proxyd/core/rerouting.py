"""Why a request comes to a backend after another attempt, told beside the reason of the decision."""

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.breaker import Breaker
from ollama_proxyd.core.errors import ASLEEP
from ollama_proxyd.core.failings import what_fails
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import replace


def after_attempt(decision: Decision, last: AttemptEnded | None, moved: Reason | None, *, is_rest: bool) -> Decision:
    """The decision with what became of the last attempt; `moved` is why it was to move, `is_rest` of a begun answer."""
    why = None if last is None or not decision.ranked else _why(decision, last, moved, is_rest)
    return decision if why is None else replace(decision, reason=why)


def _why(decision: Decision, last: AttemptEnded, moved: Reason | None, is_rest: bool) -> Reason | None:
    reason = decision.reason
    if last.moved and decision.ranked[0].backend_id == last.backend_id:
        return Reason("stayed", reason=reason)
    if last.moved:
        return Reason("moved", reason=reason, backend_id=last.backend_id, cause=moved)
    if last.code == ASLEEP:
        return Reason("slept", reason=reason)
    if last.error is None:
        return None
    cause = None if last.fault is None else what_fails(Breaker(last.fault, last.work, status=last.status))
    return Reason("resumed" if is_rest else "tried_again", reason=reason, backend_id=last.backend_id, cause=cause)
