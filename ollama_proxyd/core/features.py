"""The feature flags that Porpulsion has, and what each really does at each backend."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from ollama_proxyd.core.engine_program import ProgramKind
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Api, Json, Request
from ollama_proxyd.core.values import value

LEAN_TOKENS = 512
"""The least context that a request is capped to; it is doubled until prompt and answer fit."""
ENGINES_CONTEXT = 4096
"""What Ollama gives a request that asks for nothing: a cap above it would be no cap."""
BATCH_SLOTS = 8
"""Requests at once of a process that the proxy runs with batching: twice as many as without."""
ANSWER_TOKENS = 256
"""Room for an answer whose length the client does not limit."""


class Feature(Enum):
    """The flags, by their ids."""

    FLASH_ATTN = "flash_attn"
    MMAP_WEIGHTS = "mmap_weights"
    MLOCK_WEIGHTS = "mlock_weights"
    LEAN_CONTEXT = "lean_context"
    LOW_VRAM = "low_vram"
    AGGRESSIVE_QUANT = "aggressive_quant"
    THREAD_HINT = "thread_hint"
    PREFIX_CACHE = "prefix_cache"
    BATCHING = "batching"
    QUANT_ADVISOR = "quant_advisor"


class Words(NamedTuple):
    """A flag for people."""

    name: str
    description: str


WORDS: Mapping[Feature, Words] = {
    Feature.FLASH_ATTN: Words("Flash attention", "Attention that keeps no table of scores, so a context needs less."),
    Feature.MMAP_WEIGHTS: Words("Memory-map weights", "Weights are read from the page cache, not copied."),
    Feature.MLOCK_WEIGHTS: Words("Lock weights in memory", "Weights are never swapped out."),
    Feature.LEAN_CONTEXT: Words("Lean context", "The context is no longer than prompt and answer need; less is kept."),
    Feature.LOW_VRAM: Words("Low VRAM", "One slot and a cache of 8 bits, so that less memory is taken."),
    Feature.AGGRESSIVE_QUANT: Words("Aggressive quantisation", "Advice is one tier lower."),
    Feature.THREAD_HINT: Words("Thread hint", "As many threads as there are performance cores."),
    Feature.PREFIX_CACHE: Words(
        "Prefix cache", "Requests go where the beginning of their prompt was read, if it pays."
    ),
    Feature.BATCHING: Words("Batching", "Several requests at once at one engine."),
    Feature.QUANT_ADVISOR: Words("Quantisation advisor", "A pull is answered with the quantisation that fits."),
}


class Way(Enum):
    """How a flag comes into force at a backend."""

    REQUEST = "request"
    """Each request says it."""
    PROXY = "proxy"
    """The proxy does it."""
    ENGINE = "engine"
    """The engine decides it, whatever the flag says."""
    RESTART = "restart"
    """It takes a restart of the engine with another option."""
    NOT_POSSIBLE = "not_possible"


@value
class Effect:
    """What a flag does at one backend; `in_force` None: the engine does not tell."""

    backend_id: str
    way: Way
    in_force: bool | None
    reason: Reason


@value
class FeatureStatus:
    """One flag; it is enabled where it was asked for and is in force somewhere."""

    feature: Feature
    is_wanted: bool
    is_kept: bool
    effects: tuple[Effect, ...]

    @property
    def is_enabled(self) -> bool:
        """Whether it was asked for and does something."""
        return self.is_wanted and any(each.in_force and each.way in _BY_FLAG for each in self.effects)


_BY_FLAG = frozenset({Way.REQUEST, Way.PROXY, Way.RESTART})


@value
class EngineWishes:
    """What engines are asked for, request by request."""

    on: frozenset[Feature] = frozenset()
    threads: int | None = None
    """Performance cores, None where the kernel does not tell them."""


_OLLAMA_ENV: Mapping[Feature, str] = {
    Feature.FLASH_ATTN: "OLLAMA_FLASH_ATTENTION=1",
    Feature.LOW_VRAM: "OLLAMA_NUM_PARALLEL=1 OLLAMA_KV_CACHE_TYPE=q8_0",
    Feature.BATCHING: "OLLAMA_NUM_PARALLEL=4",
}
_LLAMACPP_OPTIONS: Mapping[Feature, str] = {
    Feature.MLOCK_WEIGHTS: "--mlock",
    Feature.LEAN_CONTEXT: "--ctx-size N",
    Feature.LOW_VRAM: "--parallel 1 --cache-type-k q8_0 --cache-type-v q8_0",
    Feature.THREAD_HINT: "--threads N",
    Feature.BATCHING: "--parallel N",
}
_LLAMACPP_ENV: Mapping[Feature, tuple[str, ...]] = {
    Feature.FLASH_ATTN: ("LLAMA_ARG_FLASH_ATTN=on",),
    Feature.MLOCK_WEIGHTS: ("LLAMA_ARG_LOAD_MODE=mmap+mlock", "LLAMA_ARG_MLOCK=1"),
    Feature.LOW_VRAM: ("LLAMA_ARG_CACHE_TYPE_K=q8_0", "LLAMA_ARG_CACHE_TYPE_V=q8_0"),
}
_LLAMACPP_DOES: Mapping[Feature, str] = {
    Feature.FLASH_ATTN: "--flash-attn auto",
    Feature.MMAP_WEIGHTS: "unless --no-mmap is given",
}
_THREADED = frozenset({Hardware.CPU, Hardware.UNKNOWN})


def is_ollama(spec: BackendSpec) -> bool:
    """Whether a backend is Ollama itself, of which others run the process."""
    return spec.engine is None and spec.api is Api.OLLAMA and spec.flavor in {"generic", "ollama"}


def is_own_ollama(spec: BackendSpec) -> bool:
    """Whether the proxy starts and ends a backend's processes, and these are Ollamas."""
    return spec.engine is not None and spec.engine.kind is ProgramKind.OLLAMA


def is_own_llama_server(spec: BackendSpec) -> bool:
    """Whether the proxy starts and ends a backend's processes, and these are llama-servers."""
    return spec.engine is not None and spec.engine.kind is ProgramKind.LLAMACPP


def _settings(feature: Feature, wishes: EngineWishes) -> tuple[str, ...]:
    """What a llama-server is started with for a flag, as variables, over which the words of its command count."""
    if feature is Feature.THREAD_HINT:
        return () if wishes.threads is None else (f"LLAMA_ARG_THREADS={wishes.threads}",)
    return _LLAMACPP_ENV.get(feature, ())


def as_wished(spec: BackendSpec, wishes: EngineWishes) -> BackendSpec:
    """A backend of which each process is started as the flags say; another one than before is started anew."""
    if not wishes.on or spec.engine is None or not is_own_llama_server(spec):
        return spec
    engine, on = spec.engine, wishes.on
    settings = [each for feature in Feature if feature in on for each in _settings(feature, wishes)]
    if settings:
        engine = replace(engine, environment=(*settings, *engine.environment))
    if Feature.LEAN_CONTEXT in on and _is_set_by(Feature.LEAN_CONTEXT, spec):
        engine = replace(engine, context_tokens=ENGINES_CONTEXT)
    slots = BATCH_SLOTS if Feature.BATCHING in on and _is_set_by(Feature.BATCHING, spec) else spec.slots
    is_same = engine is spec.engine and slots == spec.slots
    return spec if is_same else replace(spec, engine=engine, slots=slots)


def _is_set_by(feature: Feature, spec: BackendSpec) -> bool:
    """Whether another command would be started for a flag."""
    effect = _in_command(feature, spec)
    return effect is not None and effect.way is Way.RESTART


def _in_command(feature: Feature, spec: BackendSpec) -> Effect | None:
    """What a flag does that the command of a llama-server of our own has a place for; what is configured counts."""
    place, option, configured = {
        Feature.BATCHING: ("{slots}", f"--parallel {BATCH_SLOTS}", spec.slots and f"{spec.slots} slots"),
        Feature.LEAN_CONTEXT: ("{context}", f"--ctx-size {ENGINES_CONTEXT}", _small_context(spec)),
    }.get(feature, ("", "", None))
    if not place or spec.engine is None:
        return None
    detail = f"{configured} are configured" if configured else f"its configured command has no {place}"
    if configured or place not in " ".join(spec.engine.command or spec.engine.facts.command):
        return Effect(spec.id, Way.NOT_POSSIBLE, False, Reason("feature_not_here", detail=detail))
    return Effect(spec.id, Way.RESTART, False, Reason("feature_own_engine", engine="llama-server", option=option))


def _small_context(spec: BackendSpec) -> str | None:
    tokens = ENGINES_CONTEXT if spec.engine is None else spec.engine.context_tokens
    return f"{tokens} tokens of context" if tokens <= ENGINES_CONTEXT else None


def effects(feature: Feature, views: Sequence[BackendView], wishes: EngineWishes) -> tuple[Effect, ...]:
    """What a flag does at each backend, with what is in force now."""
    return tuple(_effect(feature, view, wishes) for view in views)


def _effect(feature: Feature, view: BackendView, wishes: EngineWishes) -> Effect:
    backend_id, is_on = view.spec.id, feature in wishes.on
    if not view.spec.is_local:
        return Effect(
            backend_id, Way.NOT_POSSIBLE, False, Reason("feature_not_here", detail="it is a service elsewhere")
        )
    if (by_proxy := _by_proxy(feature, view)) is not None:
        way, reason = by_proxy
        return Effect(backend_id, way, is_on if way is Way.PROXY else False, reason)
    if is_own_llama_server(view.spec) and (own := _in_command(feature, view.spec)) is not None:
        return replace(own, in_force=is_on and own.way is Way.RESTART)
    if feature is Feature.BATCHING and view.slots > 1:
        return Effect(backend_id, Way.ENGINE, True, Reason("feature_slots", slots=float(view.slots)))
    if is_ollama(view.spec) or (is_own_ollama(view.spec) and feature in _OLLAMA_ENV):
        return _at_ollama(feature, view, wishes)
    if is_own_llama_server(view.spec) and (settings := _settings(feature, wishes)):
        why = Reason("feature_own_engine", engine="llama-server", option=" ".join(settings))
        return Effect(view.spec.id, Way.RESTART, feature in wishes.on, why)
    return _elsewhere(feature, view)


def _by_proxy(feature: Feature, view: BackendView) -> tuple[Way, Reason] | None:
    if feature is Feature.PREFIX_CACHE:
        return Way.PROXY, Reason("feature_affinity")
    if feature is Feature.AGGRESSIVE_QUANT:
        return Way.PROXY, Reason("feature_lower_tier")
    if feature is not Feature.QUANT_ADVISOR:
        return None
    if is_ollama(view.spec) or is_own_ollama(view.spec):
        return Way.PROXY, Reason("feature_advice")
    return Way.NOT_POSSIBLE, Reason("feature_not_here", detail="the engine pulls no models by request")


def _at_ollama(feature: Feature, view: BackendView, wishes: EngineWishes) -> Effect:
    backend_id, is_on = view.spec.id, feature in wishes.on
    if (setting := _OLLAMA_ENV.get(feature)) is not None:
        return Effect(backend_id, Way.RESTART, None, Reason("feature_restart", engine="Ollama", option=setting))
    if feature is Feature.MLOCK_WEIGHTS:
        detail = "Ollama has no option that locks memory; keep_alive keeps a model loaded"
        return Effect(backend_id, Way.NOT_POSSIBLE, False, Reason("feature_not_here", detail=detail))
    if feature is Feature.THREAD_HINT and (why := _no_threads(view, wishes)) is not None:
        return Effect(backend_id, Way.NOT_POSSIBLE, False, Reason("feature_not_here", detail=why))
    option = {
        Feature.THREAD_HINT: f"num_thread={wishes.threads}",
        Feature.LEAN_CONTEXT: f"num_ctx from {LEAN_TOKENS} up",
    }.get(feature, "use_mmap=true")
    return Effect(backend_id, Way.REQUEST, is_on, Reason("feature_request", option=option))


def _no_threads(view: BackendView, wishes: EngineWishes) -> str | None:
    if view.spec.hardware not in _THREADED:
        return f"{view.spec.hardware.value} does the work, not the processor's cores"
    return "the kernel does not tell the performance cores" if wishes.threads is None else None


def _elsewhere(feature: Feature, view: BackendView) -> Effect:
    backend_id = view.spec.id
    if view.spec.flavor != "llamacpp":
        why = Reason("feature_not_here", detail="its engine has no option for it that a request can say")
        return Effect(backend_id, Way.NOT_POSSIBLE, False, why)
    if (does := _LLAMACPP_DOES.get(feature)) is not None:
        return Effect(backend_id, Way.ENGINE, None, Reason("feature_by_engine", engine="llama-server", option=does))
    option = _LLAMACPP_OPTIONS[feature]
    return Effect(backend_id, Way.RESTART, None, Reason("feature_restart", engine="llama-server", option=option))


def ollama_options(
    wishes: EngineWishes, spec: BackendSpec, request: Request, given: Mapping[str, Json]
) -> dict[str, Json]:
    """The options that a request gets beside the client's own, which count; a context is capped, never raised."""
    added: dict[str, Json] = {}
    if Feature.MMAP_WEIGHTS in wishes.on and given.get("use_mmap") is None:
        added["use_mmap"] = True
    is_threaded = Feature.THREAD_HINT in wishes.on and spec.hardware in _THREADED
    if is_threaded and wishes.threads is not None and given.get("num_thread") is None:
        added["num_thread"] = wishes.threads
    if Feature.LEAN_CONTEXT in wishes.on and (tokens := _capped(request, given.get("num_ctx"))) is not None:
        added["num_ctx"] = tokens
    return added


def _capped(request: Request, asked: Json) -> int | None:
    """The context that is asked for in place of the client's or the engine's own; None where that is no longer."""
    needed = request.prompt_tokens + (request.max_tokens if request.max_tokens is not None else ANSWER_TOKENS)
    cap = LEAN_TOKENS
    while cap < needed:
        cap *= 2
    is_number = isinstance(asked, int | float) and not isinstance(asked, bool)
    return cap if cap < (asked if is_number and asked > 0 else ENGINES_CONTEXT) else None
