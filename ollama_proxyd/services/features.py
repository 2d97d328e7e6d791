"""Owns which feature flags are on: asked for by hand, and kept over restarts where that was asked for too."""

from collections.abc import Callable
from dataclasses import replace

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.features import EngineWishes, Feature, FeatureStatus, effects
from ollama_proxyd.core.fleet import FleetView
from ollama_proxyd.core.topology import Topology
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import StateStore

STATE_KEY = "features"


class Features:
    """The flags; `wishes` is what engines and routing go by."""

    def __init__(self, store: StateStore, topology: Callable[[], Topology]) -> None:
        self._store = store
        self.topology = topology
        """What the processor is made of; it is read where it is asked for first."""
        self._kept = _restored(store)
        self._listeners: list[Callable[[EngineWishes], None]] = []
        self.wishes: Cell[EngineWishes] = Cell(self._with(EngineWishes(), self._kept))

    def listen(self, tell: Callable[[EngineWishes], None]) -> None:
        """Tell what is wished now, and each change at once."""
        self._listeners.append(tell)
        tell(self.wishes.value)

    def set(self, feature: Feature, *, enabled: bool, keep: bool) -> None:
        """Switch a flag for requests from now on; over restarts only where it is to be kept."""
        on = self.wishes.value.on - {feature} | ({feature} if enabled else frozenset())
        self.wishes.set(self._with(self.wishes.value, on))
        self._kept = self._kept - {feature} | ({feature} if enabled and keep else frozenset())
        for tell in self._listeners:
            tell(self.wishes.value)
        self._store.put(STATE_KEY, sorted(each.value for each in self._kept))

    def status(self, views: FleetView) -> tuple[FeatureStatus, ...]:
        """Every flag with what it does at each backend."""
        wishes = self.wishes.value
        if wishes.threads is None:
            wishes = replace(wishes, threads=self.topology().performance_cores)
        return tuple(
            FeatureStatus(each, each in wishes.on, each in self._kept, effects(each, views, wishes)) for each in Feature
        )

    def _with(self, wishes: EngineWishes, on: frozenset[Feature]) -> EngineWishes:
        threads = self.topology().performance_cores if Feature.THREAD_HINT in on else wishes.threads
        return EngineWishes(on, threads)


def named(word: str) -> Feature:
    """The flag of this id; raises ProxyError that names those that there are."""
    known = {each.value: each for each in Feature}
    if word not in known:
        message = f"there is no feature {word[:100]!r}; there are: {', '.join(known)}"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="feature")
    return known[word]


def _restored(store: StateStore) -> frozenset[Feature]:
    """What was kept, without flags that this version does not know."""
    saved, known = store.get(STATE_KEY), {each.value: each for each in Feature}
    words = [each for each in saved if isinstance(each, str)] if isinstance(saved, list) else []
    return frozenset(known[each] for each in words if each in known)
