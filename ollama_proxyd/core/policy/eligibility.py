"""Which backends may serve a request: a table of small rules, each of which can say no with a sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ollama_proxyd.core.fleet import BackendView, Hardware, Health, Model
from ollama_proxyd.core.model_names import canonical, resolve
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.policy.decision import Ranked, Rejection
from ollama_proxyd.core.policy.decision import RejectionCode as Code
from ollama_proxyd.core.policy.heat import beyond_mode, in_danger
from ollama_proxyd.core.policy.priors import is_known, measured_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, SystemState, known
from ollama_proxyd.core.requests import Operation


@dataclass(frozen=True, slots=True)
class Situation:
    """What the rules look at beside the backend: the request, the mode, the machine, and the requests under way.

    `spares_devices` tells whether devices that are in danger are left alone.
    """

    query: Query
    setting: ModeSetting
    system: SystemState
    under_way: int
    spares_devices: bool = True


FitnessRule = Callable[[BackendView, Model | None, Situation], Rejection | None]
"""Asks whether a backend can do the work at all; the model is the backend's own, None when it holds none that fits."""
LimitRule = Callable[[BackendView, Ranked, Situation], Rejection | None]
"""Asks whether what it would cost stays within the limits of the mode and of the request."""


def held(view: BackendView, query: Query) -> Model | None:
    """The backend's own entry for the model that is asked for; for any model, a loaded one that can do it."""
    if query.model is not None:
        name = resolve(query.model, (model.name for model in view.models))
        return next((model for model in view.models if model.name == name), None)
    loaded = {model.name for model in view.loaded or ()}
    ordered = sorted(view.models, key=lambda model: (not _can_do(model, query), model.name not in loaded))
    return ordered[0] if ordered else None


def unfit(view: BackendView, model: Model | None, situation: Situation) -> tuple[Rejection, ...]:
    """Every reason why a backend cannot do the work."""
    return tuple([no for rule in FITNESS_RULES if (no := rule(view, model, situation)) is not None])


def beyond_limits(view: BackendView, priced: Ranked, situation: Situation) -> tuple[Rejection, ...]:
    """Every limit that the work would exceed on a backend."""
    return tuple([no for rule in LIMIT_RULES if (no := rule(view, priced, situation)) is not None])


def too_hot(view: BackendView, device: DeviceState | None, situation: Situation) -> tuple[Rejection, ...]:
    """Every reason to leave the device of a backend alone; none where it is not known."""
    if device is None:
        return ()
    mode = () if _is_targeted(situation) else beyond_mode(view, device, situation.setting.row)
    return (*mode, *(in_danger(view, device) if situation.spares_devices else ()))


def is_preferred(view: BackendView, model: Model) -> bool:
    """Whether the configuration prefers this backend for the model."""
    return bool(view.spec.rules.preferred) and _matches(model.name, view.spec.rules.preferred)


def _target(view: BackendView, _model: Model | None, situation: Situation) -> Rejection | None:
    target = situation.query.hints.target
    if target is None or target == view.spec.id:
        return None
    return Rejection(Code.NOT_THE_TARGET, f"{view.spec.id} is not the target; the request names {target!r}")


_DISCRETE = frozenset({Hardware.NVIDIA, Hardware.AMDGPU})

_UNHEALTHY = {
    Health.DOWN: (Code.DOWN, "is down"),
    Health.DISABLED: (Code.DISABLED, "is disabled"),
    Health.UNKNOWN: (Code.HEALTH_UNKNOWN, "is not known to be up"),
}


def _health(view: BackendView, _model: Model | None, _situation: Situation) -> Rejection | None:
    if view.health is Health.UP:
        return None
    code, state = _UNHEALTHY[view.health]
    why = f": {view.health_reason}" if view.health_reason else ""
    return Rejection(code, f"{view.spec.id} {state}{why}")


def _tried(view: BackendView, _model: Model | None, situation: Situation) -> Rejection | None:
    if view.spec.id not in situation.query.tried:
        return None
    return Rejection(Code.ALREADY_TRIED, f"{view.spec.id} has already failed this request")


def _model_held(view: BackendView, model: Model | None, situation: Situation) -> Rejection | None:
    is_list_known = view.health is Health.UP or bool(view.models)
    if model is not None or not is_list_known:
        return None
    asked = situation.query.model
    what = "any model" if asked is None else repr(asked)
    return Rejection(Code.MODEL_NOT_HELD, f"{view.spec.id} does not hold {what}")


def _model_allowed(view: BackendView, model: Model | None, _situation: Situation) -> Rejection | None:
    rules = view.spec.rules
    if model is None or not (rules.excluded or rules.supported):
        return None
    if _matches(model.name, rules.excluded):
        return Rejection(Code.MODEL_EXCLUDED, f"{view.spec.id} is configured not to serve {model.name!r}")
    if rules.supported and not _matches(model.name, rules.supported + rules.preferred):
        supported = ", ".join(rules.supported)
        message = f"{view.spec.id} is configured to serve only {supported}, which {model.name!r} does not match"
        return Rejection(Code.MODEL_EXCLUDED, message)
    return None


def _model_size(view: BackendView, model: Model | None, _situation: Situation) -> Rejection | None:
    limit = view.spec.rules.max_size_bytes
    if model is None or limit is None or model.size_bytes is None or model.size_bytes <= limit:
        return None
    size_gb, limit_gb = min(model.size_bytes, 10**18) / 1e9, limit / 1e9
    message = f"{model.name!r} has {size_gb:.4g} GB; {view.spec.id} is configured for at most {limit_gb:.4g} GB"
    return Rejection(Code.MODEL_TOO_LARGE, message)


def _vision(view: BackendView, model: Model | None, situation: Situation) -> Rejection | None:
    if model is None or not situation.query.needs_vision or _is_able(model, "vision"):
        return None
    return Rejection(Code.NO_VISION, f"{model.name!r} on {view.spec.id} cannot see images")


def _operation(view: BackendView, model: Model | None, situation: Situation) -> Rejection | None:
    if model is None or _can_do(model, situation.query):
        return None
    operation = situation.query.operation.value
    return Rejection(Code.OPERATION_UNSUPPORTED, f"{model.name!r} on {view.spec.id} does not support {operation}")


def _mode_concurrency(_view: BackendView, _priced: Ranked, situation: Situation) -> Rejection | None:
    row = situation.setting.row
    if _is_targeted(situation) or row.max_concurrency is None or situation.under_way < row.max_concurrency:
        return None
    limit = f"{row.label} allows at most {row.max_concurrency}"
    return Rejection(Code.MODE_CONCURRENCY, f"{situation.under_way} requests are under way; {limit}")


def _mode_power(view: BackendView, priced: Ranked, situation: Situation) -> Rejection | None:
    row = situation.setting.row
    if _is_targeted(situation) or row.max_power_w is None or priced.power_w <= row.max_power_w:
        return None
    limit = f"{row.label} allows at most {row.max_power_w:g} W"
    return Rejection(Code.MODE_POWER, f"{_needs(view, priced)}; {limit}")


def _game(view: BackendView, _priced: Ranked, situation: Situation) -> Rejection | None:
    games, spec = known(situation.system.games), view.spec
    if not games or spec.hardware not in _DISCRETE or not spec.is_local or _is_targeted(situation):
        return None
    return Rejection(Code.GAME, f"a game runs, and the graphics card of {spec.id} is left to it")


def _hint_power(view: BackendView, priced: Ranked, situation: Situation) -> Rejection | None:
    limit_w = situation.query.hints.max_power_watts
    if limit_w is None or priced.power_w <= limit_w:
        return None
    return Rejection(Code.HINT_POWER, f"{_needs(view, priced)}; the request allows at most {limit_w:g} W")


def _hint_latency(view: BackendView, priced: Ranked, situation: Situation) -> Rejection | None:
    limit_ms = situation.query.hints.max_latency_ms
    if limit_ms is None or priced.latency_ms <= limit_ms:
        return None
    message = f"{_begins(view, priced)}; the request allows at most {limit_ms:g} ms"
    return Rejection(Code.HINT_LATENCY, message)


def _deadline(view: BackendView, priced: Ranked, situation: Situation) -> Rejection | None:
    left_s = situation.query.time_left_s
    if left_s is None or priced.latency_ms <= left_s * 1000:
        return None
    message = f"{_begins(view, priced)}; the request's deadline is in {left_s * 1000:.0f} ms"
    return Rejection(Code.DEADLINE, message)


FITNESS_RULES: tuple[FitnessRule, ...] = (
    _target,
    _health,
    _tried,
    _model_held,
    _model_allowed,
    _model_size,
    _vision,
    _operation,
)
LIMIT_RULES: tuple[LimitRule, ...] = (_mode_power, _mode_concurrency, _game, _hint_power, _hint_latency, _deadline)


def _is_targeted(situation: Situation) -> bool:
    """Whether the client named the backend: it then knows better than the mode, but its own limits still hold."""
    return situation.query.hints.target is not None


def _can_do(model: Model, query: Query) -> bool:
    """Whether a model can do what is asked. Engines embed with any model, so only answering needs to be known."""
    return query.operation is Operation.EMBEDDING or _is_able(model, "completion")


def _is_able(model: Model, capability: str) -> bool:
    return model.capabilities is None or capability in model.capabilities


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model's name, with or without the default tag, matches one of the globs."""
    full = canonical(name)
    short = full.removesuffix(":latest")
    return any(fnmatchcase(full, glob.lower()) or fnmatchcase(short, glob.lower()) for glob in patterns)


def _needs(view: BackendView, priced: Ranked) -> str:
    if (measured_w := measured_power_w(view)) is not None:
        return f"{view.spec.id} needs {measured_w:.3g} W as measured"
    estimated = "" if is_known(view.spec.profile.power_w) else "an estimated "
    return f"{view.spec.id} needs {estimated}{priced.power_w:g} W"


def _begins(view: BackendView, priced: Ranked) -> str:
    return f"{view.spec.id} would begin to answer after about {priced.latency_ms:.0f} ms"
