"""Two ways of routing side by side: what each has drawn by now, idle tails included, by one rule."""

from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, FleetView, LoadedModel
from ollama_proxyd.core.policy.comparison import Comparison, Side
from ollama_proxyd.core.values import replace


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


class Way:
    """What one way of routing keeps in memory where, and what that costs."""

    def __init__(self) -> None:
        self._stays: dict[str, _Stay] = {}
        self._until_s: dict[str, dict[str, float]] = {}
        """By backend, when each of its models leaves its memory."""
        self._found: dict[str, tuple[BackendView, frozenset[str], BackendView]] = {}
        """Each backend as it was asked for last, with what would be in its memory, and as it would be."""

    def forget_all_but(self, backend_ids: Container[str]) -> None:
        """Keep nothing of backends that are gone; a new one of the same id begins with nothing in its memory."""
        self._stays = {each: stay for each, stay in self._stays.items() if each in backend_ids}
        self._until_s = {each: until_s for each, until_s in self._until_s.items() if each in backend_ids}
        self._found = {each: found for each, found in self._found.items() if each in backend_ids}

    def fleet(self, fleet: FleetView, now_s: float) -> FleetView:
        """The backends with what would be in their memories; each is one object while all of that is the same."""
        if not self._until_s:
            return fleet
        return tuple([each if each.spec.id not in self._until_s else self._beside(each, now_s) for each in fleet])

    def _beside(self, view: BackendView, now_s: float) -> BackendView:
        backend_id, until_s = view.spec.id, self._until_s[view.spec.id]
        if view.loaded is None:
            return view
        truly, used = {each.name for each in view.loaded}, {each for each in until_s if until_s[each] >= now_s}
        names = frozenset({each for each in truly if each not in until_s} | used)
        if names == truly:
            return view
        found = self._found.get(backend_id)
        if found is None or found[0] is not view or found[1] != names:
            is_known = found is not None and found[1] == names
            loaded = found[2].loaded if found and is_known else tuple(map(LoadedModel, sorted(names)))
            found = self._found[backend_id] = view, names, replace(view, loaded=loaded)
        return found[2]

    def charge(self, side: Side, span: Span) -> float:
        """The joules of one more answer, and of the idle tail that it ends.

        Until a model was used here once, what is truly in memory counts.
        """
        ranked, costs = side.ranked, side.costs
        stay, until_s = self._stays.get(ranked.backend_id), self._until_s.get(ranked.backend_id, {})
        joules = side.work_j
        if costs is None or ranked.model not in until_s:
            joules += ranked.stay.load_j + ranked.stay.wake_j
        elif until_s[ranked.model] < span.begun_s:
            joules += costs.load_j
            if stay is not None and stay.until_s < span.begun_s:
                joules += costs.wake_j
        if stay is not None:
            joules += stay.idle_w * max(min(span.begun_s, stay.until_s) - stay.ended_s, 0.0)
        if costs is None:
            return joules
        ended_s = span.ended_s if stay is None else max(stay.ended_s, span.ended_s)
        leaves_s = ended_s + ranked.stay.keep_alive_s
        self._until_s.setdefault(ranked.backend_id, {})[ranked.model] = leaves_s
        last_s = leaves_s if stay is None else max(stay.until_s, leaves_s)
        self._stays[ranked.backend_id] = _Stay(ended_s, last_s, costs.idle_w)
        return joules


class Twins:
    """The mode in force beside Performance, both with their own models in memory."""

    def __init__(self) -> None:
        self._served, self._instead = Way(), Way()

    def forget_all_but(self, backend_ids: Container[str]) -> None:
        """Keep nothing of backends that are gone, in either way."""
        for each in (self._served, self._instead):
            each.forget_all_but(backend_ids)

    def instead(self, fleet: FleetView, now_s: float) -> FleetView:
        """The backends as the day of Performance would have them by now."""
        return self._instead.fleet(fleet, now_s)

    def saved_j(self, compared: Comparison, tokens: int | None, span: Span) -> float:
        """What Performance would have drawn more up to the end of this answer, its idle tails included."""
        served, instead = compared.sides(tokens)
        instead_j = self._instead.charge(instead, Span(span.begun_s, span.begun_s + instead.busy_s))
        return instead_j - self._served.charge(served, span)
