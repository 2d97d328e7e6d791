"""A call that changes the files of models, for the engine that keeps them."""

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Health
from ollama_proxyd.core.model_names import matches
from ollama_proxyd.core.policy.eligibility import held
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.values import value


@value
class Management:
    """A call as an engine gets it: a body that is long comes as it arrives."""

    method: str
    path: str
    body: bytes | AsyncIterable[bytes] = b""


@value
class Managed:
    """How an engine begins to answer a call, whatever its status is."""

    status: int
    content_type: str


class Places(NamedTuple):
    """The backends that a call goes to, and why."""

    backend_ids: tuple[str, ...]
    why: str
    headers: Mapping[str, str] = MappingProxyType({})
    """What else its client is told."""


def holders(views: Iterable[BackendView], model: str, target: str | None) -> Places:
    """Every backend that holds a model, or the target alone; the first of all where none holds it, to say so itself."""
    able = _able(views, target)
    found = tuple(view.spec.id for view in able if held(view, Query(model=model)) is not None)
    return Places(found, f"held by {', '.join(found)}") if found else Places((able[0].spec.id,), "no backend holds it")


def store(
    views: Iterable[BackendView], model: str | None, wishes: tuple[str | None, str | None], cheapest: Sequence[str]
) -> Places:
    """The backend that keeps a new model: the target or the configured one, else the cheapest that may hold it.

    wishes: the request's target, and the configured backend. cheapest: backends in their order for a request.
    """
    target, pull_to = wishes
    able = _able(views, target or pull_to)
    if target is not None or len(able) == 1:
        return Places((able[0].spec.id,), "the target" if target else "the only one that takes models")
    fit = [view for view in able if model is None or may_hold(view.spec, model)]
    if not fit:
        message = f"no backend may hold '{model}' by its model_capability; choose one with target"
        raise ProxyError(ErrorKind.UNSUPPORTED, message, param="target")
    order = {backend_id: place for place, backend_id in enumerate(cheapest)}
    best = min(fit, key=lambda view: (order.get(view.spec.id, len(order)), view.spec.profile.power_w or 0.0))
    return Places((best.spec.id,), "routing.pull_to" if pull_to else "the cheapest that may hold it")


def _able(views: Iterable[BackendView], target: str | None) -> list[BackendView]:
    """The backends that are up, or the target alone; ProxyError says what to do where there is none."""
    all_views = list(views)
    if not all_views:
        message = "no backend here keeps models by requests, only Ollama does; give the engine its models itself"
        raise ProxyError(ErrorKind.UNSUPPORTED, message)
    named = [view for view in all_views if target in {None, view.spec.id}]
    if not named:
        known = ", ".join(view.spec.id for view in all_views)
        message = f"'{target}' is no backend that takes models; these do: {known}"
        raise ProxyError(ErrorKind.BACKEND_NOT_FOUND, message, param="target")
    found = [view for view in named if view.health is Health.UP]
    if not found:
        who = ", ".join(view.spec.id for view in named)
        if all(view.health is Health.DISABLED for view in named):
            raise ProxyError(
                ErrorKind.UNSUPPORTED, f"{who}: switched off, so models cannot be changed there; switch one on"
            )
        raise ProxyError(ErrorKind.UNAVAILABLE, f"{who} cannot be asked now, since no answer comes from there")
    return found


def may_hold(spec: BackendSpec, model: str) -> bool:
    """Whether the configuration lets a backend hold a model."""
    rules = spec.rules
    is_meant = not rules.supported or matches(model, rules.supported + rules.preferred)
    return is_meant and not matches(model, rules.excluded)
