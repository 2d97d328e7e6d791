"""Lets requests for the model in a backend's memory go together, where loading another one evicts it."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from ollama_proxyd.core.admission import Ticket
from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.requests import Hints, Priority
from ollama_proxyd.core.residency import has_in_memory
from ollama_proxyd.core.turns import FOLLOW_UP_S, Turn, may_change_s
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.ports import Clock

RECENT_S = 120.0
"""A model that was used so recently has gone because of another, not because of its age."""


class WarmModels:
    """The turn of each backend, and whether its models evict each other, as its health checks show."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._turns: dict[str, Turn] = {}
        self._used: dict[str, dict[str, float]] = {}
        """Until when each model of a backend is in memory but for others that evict it."""
        self._evicts: dict[str, bool] = {}
        self._evicted_s: dict[str, float] = {}
        """When an engine of ours left the memory for another one last."""
        fleet.attempts.listen(self._ended)
        fleet.checked.listen(self._checked)

    def begin(self, backend_id: str, model: str) -> None:
        """A request for a model goes to a backend."""
        now_s, turn = self._clock.monotonic(), self._turns.get(backend_id)
        if turn is not None and turn.model == model:
            turn.ended_s = now_s
        else:
            self._turns[backend_id] = Turn(model, now_s, now_s)

    def free_from_s(self, ticket: Ticket, hints: Hints, longest_s: float, *, is_followed: bool) -> float:
        """From when on a request may have its backend, since another model may have its turn there before."""
        backend_id, turn = ticket.preferred, self._turns.get(ticket.preferred)
        if turn is None or turn.model == ticket.model or _is_in_a_hurry(ticket, hints):
            return -inf
        view = self._fleet.view(backend_id)
        if view.spec.engine is not None:
            if not self._is_short(backend_id) or self._is_there(view, ticket.model):
                return -inf
            turn = replace(turn, begun_s=-inf)  # those in memory take turns without an end
        elif not self._evicts.get(backend_id) or not has_in_memory(view, turn.model):
            return -inf
        if ticket.passed_s is None:
            ticket.passed_s = self._clock.monotonic()
        load_s = view.memory.load_s.get(ticket.model, FOLLOW_UP_S)
        return may_change_s(turn, ticket.passed_s, longest_s, is_followed=is_followed, load_s=load_s)

    def models_of(self, backend_id: str) -> Sequence[str]:
        """The models that a backend works with: of engines of ours all in memory, else the one of its turn."""
        view = self._fleet.view(backend_id) if self._fleet.has(backend_id) else None
        if view is not None and view.spec.engine is not None:
            return [each.name for each in view.loaded or ()]
        turn = self._turns.get(backend_id)
        return [] if turn is None else [turn.model]

    def note_eviction(self, backend_id: str) -> None:
        """An engine of ours left the memory for another one."""
        self._evicted_s[backend_id] = self._clock.monotonic()

    def _is_short(self, backend_id: str) -> bool:
        """Whether engines of ours have evicted each other of late."""
        return self._clock.monotonic() - self._evicted_s.get(backend_id, -inf) < RECENT_S

    def _is_there(self, view: BackendView, model: str) -> bool:
        """Whether a request for a model evicts nothing: it is in memory, or is being loaded."""
        leases = self._fleet.leases(view.spec.id)
        return has_in_memory(view, model) or any(each.under_way.model == model for each in leases)

    def _ended(self, ended: AttemptEnded) -> None:
        turn, used = self._turns.get(ended.backend_id), self._used.setdefault(ended.backend_id, {})
        if turn is not None and turn.model == ended.model:
            turn.ended_s = ended.ended_s
        keeps_s = ended.keeps_s if ended.asked_s is None else ended.asked_s
        if keeps_s == 0 or ended.finish is FinishReason.UNLOAD:
            used.pop(ended.model, None)
        elif ended.succeeded:
            used[ended.model] = ended.ended_s + (RECENT_S if keeps_s is None else min(keeps_s, RECENT_S))

    def _checked(self, view: BackendView) -> None:
        """Whether a model that answered a moment ago is still there beside those that answered after it."""
        backend_id, now_s = view.spec.id, self._clock.monotonic()
        used = {model: until_s for model, until_s in self._used.get(backend_id, {}).items() if until_s > now_s}
        there = {model: until_s for model, until_s in used.items() if has_in_memory(view, model)}
        if len(there) < len(used) and view.loaded:
            self._evicts[backend_id] = True
        elif len(there) > 1:
            self._evicts[backend_id] = False
        self._used[backend_id] = there


def _is_in_a_hurry(ticket: Ticket, hints: Hints) -> bool:
    has_deadline = hints.deadline_ms is not None or hints.max_latency_ms is not None
    return ticket.priority > Priority.NORMAL or hints.latency_critical or has_deadline
