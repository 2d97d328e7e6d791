"""What a client is told when no backend can serve its request."""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from ollama_proxyd.core.errors import DEADLINE_EXCEEDED, ErrorKind, ProxyError
from ollama_proxyd.core.failings import KEY_REJECTED
from ollama_proxyd.core.fleet import FleetView, Health
from ollama_proxyd.core.model_names import Synonyms, canonical
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.eligibility import is_allowed
from ollama_proxyd.core.policy.obstacles import nearest
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.reasons import Reason

EARLIEST_DEADLINE_MS = 10**12
"""The year 2001; what is below was meant as a span of time."""
IMAGE_URLS = (
    "image URLs are not currently supported, please use base64 encoded data instead; "
    "only a backend elsewhere with https_images, or an OpenAI engine here that a program here asks, may fetch them"
)
"""It begins as Ollama's own sentence does, which clients know."""
_PASSES = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OVERLOADED})


def refusal(
    query: Query, decision: Decision, fleet: FleetView, seen_within_s: float, synonyms: Synonyms | None = None
) -> ProxyError:
    """The error for a decision that ranked nothing; its message says what was wrong and what there is instead.

    `seen_within_s` is how soon a backend that comes up is noticed, so when trying again makes sense.
    """
    target, found = query.hints.target, nearest(decision.rejected, query.hints.target)
    if found is None and target is not None:
        frontend = query.hints.frontend
        known = (
            ", ".join(v.spec.id for v in fleet if frontend is None or frontend.uses(v.spec.id, v.spec.labels)) or "none"
        )
        message = f"target names {target!r}, which is not a backend here; the backends are: {known}"
        return ProxyError(ErrorKind.BACKEND_NOT_FOUND, message, param="target")
    if found is None:
        return ProxyError(ErrorKind.UNAVAILABLE, str(decision.reason), retry_after_s=seen_within_s)
    obstacle, why = found
    kind = ErrorKind.UNAVAILABLE if any(map(_ends_with_the_queue, why)) else obstacle.kind
    retry_after_s = _next_try_s(why, seen_within_s) if kind in _PASSES else None
    if why[0].code == "model_not_held":
        message = _not_found(query, fleet, synonyms or Synonyms())
    else:
        message = _message(query, decision, fleet, why[0].code)
    if all(no.values.get("reason") == KEY_REJECTED for no in why):
        return ProxyError(ErrorKind.UPSTREAM_FAILED, message, status=HTTPStatus.UNAUTHORIZED, code=why[0].code)
    return ProxyError(kind, message, param=obstacle.param, retry_after_s=retry_after_s, code=why[0].code)


def _message(query: Query, decision: Decision, fleet: FleetView, code: str) -> str:
    if code == "image_urls_refused":
        return IMAGE_URLS
    is_up_elsewhere = code == "down" and any(each.health is Health.UP for each in fleet)
    if is_up_elsewhere and query.hints.target is None and query.model is not None:
        return f"no backend that is up holds {query.model!r}; {decision.reason}"
    return str(decision.reason)


def _next_try_s(why: Sequence[Reason], otherwise_s: float) -> float:
    """When the first of the backends that failed of late may be tried again."""
    left_s = [value for no in why if isinstance(value := no.values.get("left_seconds"), float)]
    return min(left_s, default=otherwise_s)


def _ends_with_the_queue(no: Reason) -> bool:
    """Whether a backend would keep the limit of latency were it not busy."""
    latency_ms, queue_ms, limit_ms = (no.values.get(key) for key in ("latency_ms", "queue_wait_ms", "limit_ms"))
    if not isinstance(latency_ms, float) or not isinstance(queue_ms, float) or not isinstance(limit_ms, float):
        return False
    return no.code == "hint_latency" and latency_ms - queue_ms <= limit_ms


def _not_found(query: Query, fleet: FleetView, synonyms: Synonyms) -> str:
    """What there is, by the names that the lists of models have."""
    target = query.hints.target
    found: dict[str, str] = {}
    for view in fleet:
        is_asked = view.health is Health.UP and target in (None, view.spec.id)
        for model in view.models if is_asked else ():
            if is_allowed(view, model, replace(query, model=model.name, synonyms=synonyms.of(model.name))):
                name = synonyms.alias_of(model.name)
                found.setdefault(canonical(name), name)
    names = sorted(found.values())
    where = f" on {target}" if target else ""
    there_is = f"available{where}: {', '.join(names)}" if names else f"no model is available{where}"
    return f"model {query.model!r} not found; {there_is}"


def time_to_deadline_s(deadline_ms: int | None, unix_s: float) -> float | None:
    """Seconds until a client's deadline, None when it set none; raises ProxyError when it has passed."""
    if deadline_ms is None:
        return None
    left_s = deadline_ms / 1000 - unix_s
    if left_s > 0:
        return left_s
    message = f"deadline_ms lies {-left_s:.1f} s in the past, so the request was not routed"
    if deadline_ms < EARLIEST_DEADLINE_MS:
        is_in_seconds = deadline_ms * 1000 >= EARLIEST_DEADLINE_MS
        meant = f"{deadline_ms * 1000}" if is_in_seconds else f"{deadline_ms} ms from now"
        message = f"deadline_ms is a moment since 1970 in ms; did you mean {meant}?"
    raise ProxyError(ErrorKind.LIMIT_UNMET, message, param="deadline_ms", code=DEADLINE_EXCEEDED)
