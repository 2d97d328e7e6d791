"""Two ways of routing side by side: what each has drawn by now, idle tails included, by one rule."""

from dataclasses import dataclass
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, LoadedModel
from ollama_proxyd.core.policy.comparison import Comparison, Side


class Span(NamedTuple):
    """When an answer was under way, on the monotonic clock."""

    begun_s: float
    ended_s: float


@dataclass(slots=True)
class _Stay:
    """A backend between two requests: its models draw so much more until they leave."""

    ended_s: float
    until_s: float
    idle_w: float

    def tail_j(self, now_s: float) -> float:
        return self.idle_w * max(min(now_s, self.until_s) - self.ended_s, 0.0)


class Way:
    """What one way of routing keeps in memory where, and what that costs."""

    def __init__(self) -> None:
        self._stays: dict[str, _Stay] = {}
        self._until_s: dict[tuple[str, str], float] = {}
        """When each model leaves the memory of its backend."""
        self._loaded: dict[str, tuple[frozenset[str], tuple[LoadedModel, ...]]] = {}
        """What was in each backend's memory when that was asked last."""

    def loaded(self, view: BackendView, now_s: float) -> tuple[LoadedModel, ...] | None:
        """What would be in a backend's memory; one object while that is the same."""
        if view.loaded is None:
            return None
        backend_id, truly = view.spec.id, {each.name for each in view.loaded}
        used = {model: until_s >= now_s for (at, model), until_s in self._until_s.items() if at == backend_id}
        names = frozenset({each for each in truly if used.get(each, True)} | {each for each in used if used[each]})
        if names == truly:
            return view.loaded
        found = self._loaded.get(backend_id)
        if found is None or found[0] != names:
            found = self._loaded[backend_id] = names, tuple(map(LoadedModel, sorted(names)))
        return found[1]

    def charge(self, side: Side, span: Span) -> float:
        """The joules of one more answer, and of the idle tail that it ends.

        Until a model was used here once, what is truly in memory counts.
        """
        ranked, costs = side.ranked, side.costs
        at, stay = (ranked.backend_id, ranked.model), self._stays.get(ranked.backend_id)
        joules = side.work_j
        if costs is None or at not in self._until_s:
            joules += ranked.stay.load_j + ranked.stay.wake_j
        elif self._until_s[at] < span.begun_s:
            joules += costs.load_j
            if stay is not None and stay.until_s < span.begun_s:
                joules += costs.wake_j
        if stay is not None:
            joules += stay.tail_j(span.begun_s)
        if costs is None:
            return joules
        ended_s = span.ended_s if stay is None else max(stay.ended_s, span.ended_s)
        self._until_s[at] = ended_s + ranked.stay.keep_alive_s
        until_s = self._until_s[at] if stay is None else max(stay.until_s, self._until_s[at])
        self._stays[at[0]] = _Stay(ended_s, until_s, costs.idle_w)
        return joules


class Twins:
    """The mode in force beside Performance, both with their own models in memory."""

    def __init__(self) -> None:
        self._served, self._instead = Way(), Way()

    def loaded_instead(self, view: BackendView, now_s: float) -> tuple[LoadedModel, ...] | None:
        """What the day of Performance would have in a backend's memory by now."""
        return self._instead.loaded(view, now_s)

    def saved_j(self, compared: Comparison, tokens: int | None, span: Span) -> float:
        """What Performance would have drawn more up to the end of this answer, its idle tails included."""
        served, instead = compared.sides(tokens)
        instead_j = self._instead.charge(instead, Span(span.begun_s, span.begun_s + instead.busy_s))
        return instead_j - self._served.charge(served, span)
