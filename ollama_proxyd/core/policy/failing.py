"""Backends that could serve but failed of late: who they are, why they wait, and when one is tried all the same."""

from collections.abc import Sequence

from ollama_proxyd.core.breaker import Breaker, blocking
from ollama_proxyd.core.failings import what_fails
from ollama_proxyd.core.faults import Work
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason


def failing_of(fit: Sequence[Candidate], query: Query) -> tuple[Candidate, ...]:
    """Those whose breakers keep this request out, the nearest to its next try first."""
    found = [(breaker.retry_at_s, each) for each in fit if (breaker := blocking_of(each, query)) is not None]
    return tuple([each for _, each in sorted(found, key=lambda entry: entry[0])])


def blocking_of(candidate: Candidate, query: Query) -> Breaker | None:
    """The breaker that keeps a request from a backend, None where none does."""
    breakers = candidate.view.breakers
    return blocking(breakers, work_of(query, candidate.model.name), query.now_s) if breakers else None


def may_be_tried(candidate: Candidate, query: Query) -> bool:
    """Whether a failing backend may serve where nothing else can: one request at a time tries."""
    work = work_of(query, candidate.model.name)
    firm = (each.is_tried(work) or each.is_resting(query.now_s) for each in candidate.view.breakers)
    return not query.spares_failing and not any(firm)


def being_tried(decision: Decision) -> frozenset[str]:
    """The backends of which another request finds out whether they may serve this one."""
    return frozenset(
        [each.backend_id for each in decision.rejected if any(no.code == "being_tried" for no in each.rejections)]
    )


def is_about_to_show(decision: Decision) -> bool:
    """Whether a backend may serve as far as is known, and a trial or its first check will show it."""
    kept = ({no.code for no in each.rejections} for each in decision.rejected)
    return bool(being_tried(decision)) or {"health_unknown"} in kept


def why_aside(candidate: Candidate, query: Query) -> Reason:
    """Why a request does not go to a failing backend."""
    backend_id, breaker = candidate.view.spec.id, blocking_of(candidate, query)
    if breaker is None or breaker.is_tried(work_of(query, candidate.model.name)):
        return Reason("being_tried", backend_id=backend_id)
    left_s = breaker.left_s(query.now_s)
    return Reason("set_aside", backend_id=backend_id, reason=what_fails(breaker), left_seconds=left_s)


def work_of(query: Query, model: str) -> Work:
    """The facts of a request that a failure may depend on."""
    return Work(model, query.operation, query.prompt_tokens, query.needs_vision, query.needs_tools)
