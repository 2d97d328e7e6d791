"""What a client is told when no backend can serve its request."""

from collections.abc import Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.model_names import resolve
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.core.policy.query import Query

_NOT_UP = frozenset({"down", "disabled", "health_unknown"})

_KINDS: tuple[tuple[frozenset[str], ErrorKind], ...] = (
    (frozenset({"set_aside", "being_tried"}), ErrorKind.UNAVAILABLE),
    (frozenset({"mode_concurrency"}), ErrorKind.OVERLOADED),
    (frozenset({"mode_power", "game", "hint_power", "hint_latency"}), ErrorKind.UNAVAILABLE),
    (frozenset({"deadline"}), ErrorKind.UPSTREAM_TIMEOUT),
    (frozenset({"no_vision", "operation_unsupported"}), ErrorKind.UNSUPPORTED),
    (frozenset({"model_not_held", "model_excluded", "model_too_large"}), ErrorKind.MODEL_NOT_FOUND),
)
"""The nearest to success decides: one backend that is only busy makes the refusal a matter of time."""

_PARAMS: Mapping[str, str] = {
    "hint_power": "max_power_watts",
    "hint_latency": "max_latency_ms",
    "deadline": "deadline_ms",
    "model_not_held": "model",
}
_RETRIED = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OVERLOADED})


def refusal(query: Query, decision: Decision, fleet: FleetView, seen_within_s: float) -> ProxyError:
    """The error for a decision that ranked nothing; its message says what was wrong and what there is instead.

    `seen_within_s` is how soon a backend that comes up is noticed, so when trying again makes sense.
    """
    target = query.hints.target
    if target is not None and all(view.spec.id != target for view in fleet):
        known = ", ".join(view.spec.id for view in fleet) or "none"
        message = f"target names {target!r}, which is not a backend here; the backends are: {known}"
        return ProxyError(ErrorKind.BACKEND_NOT_FOUND, message, param="target")
    concerned = [view for view in fleet if target is None or view.spec.id == target]
    ids = {view.spec.id for view in concerned}
    decisive = [each.rejections[0].code for each in decision.rejected if each.backend_id in ids]
    kind, code = _kind([code for code in decisive if code not in _NOT_UP])
    if kind is ErrorKind.MODEL_NOT_FOUND and (resting := _down_holder(query, concerned)) is not None:
        kind, message = ErrorKind.UNAVAILABLE, f"{query.model!r} is held only by {resting.spec.id}, which is down"
    elif kind is ErrorKind.MODEL_NOT_FOUND and code == "model_not_held":
        message = _not_found(query, concerned)
    else:
        message = str(decision.reason)
    retry_after_s = _tried_again_s(decision, ids, seen_within_s) if kind in _RETRIED else None
    param = None if code is None else _PARAMS.get(code)
    return ProxyError(kind, message, param=param, retry_after_s=retry_after_s, code=code)


def _tried_again_s(decision: Decision, ids: set[str], otherwise_s: float) -> float:
    """When the first of the backends that failed of late may be tried again."""
    nos = [no for each in decision.rejected if each.backend_id in ids for no in each.rejections]
    left_s = [value for no in nos if isinstance(value := no.values.get("left_seconds"), float)]
    return min(left_s, default=otherwise_s)


def _kind(codes: list[str]) -> tuple[ErrorKind, str | None]:
    for group, kind in _KINDS:
        for code in codes:
            if code in group:
                return kind, code
    return ErrorKind.UNAVAILABLE, None


def _down_holder(query: Query, views: list[BackendView]) -> BackendView | None:
    """A backend that is down and held the model when it was last seen."""
    if query.model is None:
        return None
    for view in views:
        held = resolve(query.model, (model.name for model in view.models))
        if view.health in {Health.DOWN, Health.UNKNOWN} and held is not None:
            return view
    return None


def _not_found(query: Query, views: list[BackendView]) -> str:
    names = sorted({model.name for view in views if view.health is Health.UP for model in view.models})
    where = f" on {query.hints.target}" if query.hints.target else ""
    there_is = f"available{where}: {', '.join(names)}" if names else f"no model is available{where}"
    return f"model {query.model!r} not found; {there_is}"
