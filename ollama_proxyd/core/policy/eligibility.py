"""Which backends may serve a request: a table of small rules, each of which can say no with its reason."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from ollama_proxyd.core.fleet import BackendView, Health, Model
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.model_names import matches, resolve
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import known_power_w, measured_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import WRITING, Api
from ollama_proxyd.core.values import value


@value
class Situation:
    """What the rules look at beside the backend: the request, the mode, the machine, and the requests under way."""

    query: Query
    setting: ModeSetting
    system: SystemState
    under_way: int


FitnessRule = Callable[[BackendView, Model | None, Situation], Reason | None]
"""Asks whether a backend can do the work at all; the model is the backend's own, None when it holds none that fits."""
LimitRule = Callable[[BackendView, Ranked, Situation], Reason | None]
"""Asks whether what it would cost stays within the limits of the request."""


def held(view: BackendView, query: Query) -> Model | None:
    """The backend's own entry for the model that is asked for; for any model, a loaded one that can do it."""
    if query.model is not None:
        return _catalogue(view.models)(query.model, query.synonyms)
    loaded, frontend = {model.name for model in view.loaded or ()}, query.hints.frontend
    allowed = [model for model in view.models if frontend is None or frontend.allows(model.name)]
    ordered = sorted(allowed, key=lambda model: (not _can_do(model, query), model.name not in loaded))
    return ordered[0] if ordered else None


@by_identity
def _catalogue(models: tuple[Model, ...]) -> Callable[[str, tuple[str, ...]], Model | None]:
    """Finds a model by its name or one of its synonyms; the last names that were asked for are remembered."""
    return lru_cache(maxsize=64)(partial(_named, models))


def _named(models: tuple[Model, ...], name: str, synonyms: tuple[str, ...]) -> Model | None:
    names = [model.name for model in models]
    for asked in (name, *synonyms):
        if (found := resolve(asked, names)) is not None:
            return models[names.index(found)]
    return None


def fitness_rules(query: Query) -> Sequence[FitnessRule]:
    """The rules that can exclude a backend for this request, in their order."""
    silent = {
        None if query.hints.frontend is not None else _frontend,
        None if query.hints.frontend is not None else _model_of_frontend,
        None if query.hints.target is not None else _target,
        None if query.tried else _tried,
        None if query.able is not None else _resume,
        None if query.has_image_urls else _image_urls,
        None if query.needs_vision else _vision,
    }
    return [rule for rule in FITNESS_RULES if rule not in silent]


def unfit(
    view: BackendView, model: Model | None, situation: Situation, rules: Sequence[FitnessRule]
) -> tuple[Reason, ...]:
    """Every reason why a backend cannot do the work."""
    nos: tuple[Reason, ...] = ()
    for rule in rules:
        if (no := rule(view, model, situation)) is not None:
            nos += (no,)
    return nos


def limit_rules(query: Query) -> Sequence[LimitRule]:
    """The limits that a request has."""
    rules: list[LimitRule] = []
    if query.hints.max_power_watts is not None:
        rules.append(_hint_power)
    if query.hints.max_latency_ms is not None:
        rules.append(_hint_latency)
    if query.time_left_s is not None:
        rules.append(_deadline)
    return rules


def _frontend(view: BackendView, _model: Model | None, situation: Situation) -> Reason | None:
    frontend = situation.query.hints.frontend
    if frontend is None or frontend.uses(view.spec.id, view.spec.labels):
        return None
    labels, backends = ", ".join(frontend.labels), ", ".join(frontend.backends)
    told = {"labels": labels or None, "backends": backends or None}
    return Reason("not_of_frontend", backend_id=view.spec.id, frontend=frontend.name, **told)


def _model_of_frontend(_view: BackendView, model: Model | None, situation: Situation) -> Reason | None:
    query = situation.query
    frontend = query.hints.frontend
    if frontend is None or model is None or frontend.allows(model.name, *query.synonyms):
        return None
    allowed = ", ".join(frontend.models)
    return Reason("model_not_of_frontend", model=model.name, frontend=frontend.name, supported=allowed)


def _target(view: BackendView, _model: Model | None, situation: Situation) -> Reason | None:
    target = situation.query.hints.target
    if target is None or target == view.spec.id:
        return None
    return Reason("not_the_target", backend_id=view.spec.id, target=target)


def _image_urls(view: BackendView, _model: Model | None, situation: Situation) -> Reason | None:
    spec = view.spec
    decides_itself = situation.query.may_fetch_here and spec.is_local and spec.api is Api.OPENAI
    return None if decides_itself or spec.https_images else Reason("image_urls_refused", backend_id=spec.id)


_UNHEALTHY = {Health.DOWN: "down", Health.DISABLED: "disabled", Health.UNKNOWN: "health_unknown"}


def _health(view: BackendView, _model: Model | None, _situation: Situation) -> Reason | None:
    if view.health is Health.UP:
        return None
    return Reason(_UNHEALTHY[view.health], backend_id=view.spec.id, reason=view.health_reason)


def _tried(view: BackendView, _model: Model | None, situation: Situation) -> Reason | None:
    if view.spec.id not in situation.query.tried:
        return None
    return Reason("already_tried", backend_id=view.spec.id)


def _resume(view: BackendView, _model: Model | None, situation: Situation) -> Reason | None:
    able = situation.query.able
    return None if able is None or view.spec.id in able else Reason("cannot_resume", backend_id=view.spec.id)


def _model_held(view: BackendView, model: Model | None, situation: Situation) -> Reason | None:
    is_list_known = view.health is Health.UP or bool(view.models)
    if model is not None or not is_list_known:
        return None
    asked = situation.query.model
    return Reason("model_not_held", backend_id=view.spec.id, model=asked, is_any=asked is None)


def is_allowed(view: BackendView, model: Model, query: Query) -> bool:
    """Whether the configuration lets a backend serve a model to whom a query comes from."""
    frontend = query.hints.frontend
    if frontend is not None:
        is_of_it = frontend.uses(view.spec.id, view.spec.labels) and frontend.allows(model.name, *query.synonyms)
        return is_of_it and is_allowed(view, model, Query(model=model.name))
    return _model_allowed(view, model) is None and _model_size(view, model) is None


def _model_allowed(view: BackendView, model: Model | None, _situation: Situation | None = None) -> Reason | None:
    rules = view.spec.rules
    if model is None or not (rules.excluded or rules.supported):
        return None
    if matches(model.name, rules.excluded):
        return Reason("model_excluded", backend_id=view.spec.id, model=model.name)
    if rules.supported and not matches(model.name, rules.supported + rules.preferred):
        supported = ", ".join(rules.supported)
        return Reason("model_excluded", backend_id=view.spec.id, model=model.name, supported=supported)
    return None


def _model_size(view: BackendView, model: Model | None, _situation: Situation | None = None) -> Reason | None:
    limit = view.spec.rules.max_size_bytes
    if model is None or limit is None or model.size_bytes is None or model.size_bytes <= limit:
        return None
    size_gb, limit_gb = min(model.size_bytes, 10**18) / 1e9, limit / 1e9
    code = "model_too_large"
    return Reason(code, backend_id=view.spec.id, model=model.name, size_gb=size_gb, limit_gb=limit_gb)


def _memory(_view: BackendView, model: Model | None, _situation: Situation) -> Reason | None:
    return None if model is None else model.unfit


def _vision(view: BackendView, model: Model | None, situation: Situation) -> Reason | None:
    if model is None or not situation.query.needs_vision or _is_able(model, "vision"):
        return None
    return Reason("no_vision", backend_id=view.spec.id, model=model.name)


def _operation(view: BackendView, model: Model | None, situation: Situation) -> Reason | None:
    if model is None or model.capabilities is None or _can_do(model, situation.query):
        return None
    operation = situation.query.operation.value
    return Reason("operation_unsupported", backend_id=view.spec.id, model=model.name, operation=operation)


def _hint_power(view: BackendView, _priced: Ranked, situation: Situation) -> Reason | None:
    limit_w, power_w = situation.query.hints.max_power_watts, known_power_w(view)
    if limit_w is None or power_w is None or power_w <= limit_w:
        return None
    return Reason("hint_power", **needs(view, power_w), limit_watts=limit_w)


def _hint_latency(view: BackendView, priced: Ranked, situation: Situation) -> Reason | None:
    limit_ms, waited_ms = situation.query.hints.max_latency_ms, situation.query.waited_s * 1000
    if limit_ms is None or waited_ms + priced.latency_ms <= limit_ms:
        return None
    queue_ms = waited_ms + priced.queue_wait_s * 1000 or None
    times = {"latency_ms": waited_ms + priced.latency_ms, "queue_wait_ms": queue_ms, "limit_ms": limit_ms}
    return Reason("hint_latency", backend_id=view.spec.id, **times)


def _deadline(view: BackendView, priced: Ranked, situation: Situation) -> Reason | None:
    """A length or a speed that is a guess refuses nothing; `late` prefers another backend for it."""
    left_s = situation.query.time_left_s
    if left_s is not None and priced.latency_ms > left_s * 1000:
        return Reason("deadline", backend_id=view.spec.id, latency_ms=priced.latency_ms, limit_ms=left_s * 1000)
    return late(priced, situation.query) if priced.is_length_known and not priced.is_guess else None


def late(priced: Ranked, query: Query) -> Reason | None:
    """Whether the whole answer is expected to come after the deadline."""
    left_s, time_s = query.time_left_s, priced.time_s
    if left_s is None or time_s <= left_s:
        return None
    return Reason("deadline_of_end", backend_id=priced.backend_id, time_ms=time_s * 1000, limit_ms=left_s * 1000)


FITNESS_RULES: tuple[FitnessRule, ...] = (
    _frontend,
    _target,
    _image_urls,
    _health,
    _tried,
    _resume,
    _model_held,
    _model_of_frontend,
    _model_allowed,
    _model_size,
    _memory,
    _vision,
    _operation,
)


def _can_do(model: Model, query: Query) -> bool:
    """Whether a model can do what is asked; of all but answering engines tell too little to refuse by it."""
    return query.operation not in WRITING or _is_able(model, "completion")


def _is_able(model: Model, capability: str) -> bool:
    return model.capabilities is None or capability in model.capabilities


def needs(view: BackendView, power_w: float) -> dict[str, Any]:
    """What a backend draws, and how that is known."""
    measured_w = measured_power_w(view)
    return {
        "backend_id": view.spec.id,
        "power_watts": power_w if measured_w is None else float(f"{measured_w:.3g}"),
        "is_measured": measured_w is not None,
    }
