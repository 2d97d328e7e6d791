"""Owns what was learned of keeping models in memory: how often they are asked for, and how long they load."""

from dataclasses import replace
from math import sqrt

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.keeping import MOST_GAPS, Gaps, Memory
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.policy.priors import is_known
from ollama_proxyd.core.policy.residence import (
    LARGEST_MODEL_BYTES,
    LOAD_BYTES_PER_S,
    LOAD_OVERHEAD_S,
    TYPICAL_MODEL_BYTES,
)
from ollama_proxyd.services.ports import Clock

SHORTEST_LOAD_S = 0.05
"""Less is what an engine needs to see that a model is loaded already."""
NEWS_SHARE = 0.05
"""Measured watts that differ by less from those that are known are no news."""
MOST_MODELS = 1000
"""So many models are remembered; the rest of a longer list teaches nothing."""


class KeepingFacts:
    """Times between requests by model, and load times by backend and model; they outlive a reload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memories: dict[str, Memory] = {}
        self._gaps_s: dict[str, Gaps] = {}
        self._under_way: dict[str, int] = {}
        self._ended_s: dict[str, float] = {}
        self._fresh: set[tuple[str, str]] = set()
        """The models that were not in memory when they were asked for."""
        self._expires_s: dict[str, dict[str, float]] = {}
        self._load_s: dict[str, dict[str, float]] = {}

    def memory(self, view: BackendView, *, is_kept_by_us: bool, idle_w: float | None = None) -> Memory:
        """What is known of a backend, with live views; the same object until something else has changed."""
        backend_id = view.spec.id
        known = self._memories.get(backend_id)
        if known is None:
            live = (self.expires_s(backend_id), self._gaps_s, self._load_s.setdefault(backend_id, {}))
            known = self._memories[backend_id] = Memory(is_kept_by_us, *live)
        idle_w = known.idle_w if idle_w is None or _is_near(idle_w, known.idle_w) else idle_w
        now = is_kept_by_us, view.start_s, view.is_off, idle_w
        if now != (known.is_kept_by_us, known.start_s, known.is_off, known.idle_w):
            known = replace(known, is_kept_by_us=is_kept_by_us, start_s=view.start_s, is_off=view.is_off, idle_w=idle_w)
            self._memories[backend_id] = known
        return known

    def expires_s(self, backend_id: str) -> dict[str, float]:
        """When the models of a backend leave its memory; the keeper's to write."""
        return self._expires_s.setdefault(backend_id, {})

    def note_sent(self, backend_id: str, model: str, *, is_fresh: bool) -> None:
        """A request for a model begins: at once where another is under way, else so long after the last one ended."""
        name, now_s = canonical(model), self._clock.monotonic()
        if is_fresh:
            self._fresh.add((backend_id, model))
        if name not in self._under_way and len(self._under_way) >= MOST_MODELS:
            return
        if (is_at_once := self._under_way.get(name, 0) > 0) or name in self._ended_s:
            gap_s = 0.0 if is_at_once else now_s - self._ended_s[name]
            self._gaps_s[name] = (*self._gaps_s.get(name, ()), gap_s)[-MOST_GAPS:]
        self._under_way[name] = self._under_way.get(name, 0) + 1

    def note_ended(self, ended: AttemptEnded) -> float | None:
        """A request for a model has ended; how long the model was loaded for it, None where that was not seen."""
        name, load_s = canonical(ended.model), _loading_s(ended)
        is_fresh = (ended.backend_id, ended.model) in self._fresh
        self._fresh.discard((ended.backend_id, ended.model))
        if name in self._under_way:
            self._under_way[name] = max(self._under_way[name] - 1, 0)
            self._ended_s[name] = self._clock.monotonic()
        return load_s if is_fresh and load_s >= SHORTEST_LOAD_S and ended.succeeded else None

    def learn_load(self, backend_id: str, model: Model, load_s: float) -> None:
        """Loading a model took so long."""
        loads = self._load_s.setdefault(backend_id, {})
        if model.name in loads or len(loads) < MOST_MODELS:
            loads[model.name] = sqrt(loads.get(model.name, load_s) * load_s)
        size_bytes, memory = model.size_bytes, self._memories.get(backend_id)
        if memory is not None and is_known(size_bytes, 1, LARGEST_MODEL_BYTES):
            each_s = 1 / (memory.bytes_per_s or LOAD_BYTES_PER_S)
            each_s += _share(size_bytes) * (max(load_s - LOAD_OVERHEAD_S, 0.0) / size_bytes - each_s)
            self._memories[backend_id] = replace(memory, bytes_per_s=1 / each_s)


def _is_near(measured_w: float, known_w: float | None) -> bool:
    """Whether a measurement is no news."""
    return known_w is not None and abs(measured_w - known_w) <= NEWS_SHARE * known_w


def _share(size_bytes: float) -> float:
    """What loading a model of this size weighs in how fast others are loaded.

    A small one shows how long an engine needs in any case. So it is the weight of least squares.
    """
    size = (size_bytes / TYPICAL_MODEL_BYTES) ** 2
    return size / (size + 1)


def _loading_s(ended: AttemptEnded) -> float:
    """How long a model was loaded: an engine whose device slept counts the waking as well, which has its own price."""
    load_s = ended.timings.load_s or 0.0
    if ended.decision is None or not ended.decision.ranked:
        return load_s
    stay = ended.decision.ranked[0].stay
    return load_s * stay.load_s / (stay.load_s + stay.wake_s) if stay.load_s and stay.wake_s else load_s
