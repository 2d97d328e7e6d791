"""Looks at each backend after the machine slept, for engines that came back without their GPU."""

from functools import partial

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.waking import Before, lost_memory, lost_speed, remember
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.learner import Learner, decode_tps
from ollama_proxyd.services.ledger import Outcome

FIRST_REQUESTS = 10
"""From how many answers of a model after the machine woke up its speed is judged."""


class Waking:
    """The one owner of what backends were before the machine slept, and of what they lost; over all reloads."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._fleet: Fleet | None = None
        self._before: dict[str, Before] = {}
        self._lost: dict[str, dict[tuple[str, str], str]] = {}
        """By backend: what is lost, by model and by what showed it."""
        self._left: dict[tuple[str, str], int] = {}
        """Requests of which the speed is still to be judged, by backend and model."""

    def attend(self, fleet: Fleet) -> None:
        """From now on this is the fleet that requests go to."""
        self._fleet = fleet
        fleet.checked.listen(partial(self._look, fleet))
        for backend_id in self._lost:
            self._tell(fleet, backend_id)

    def remember(self) -> None:
        """The machine goes to sleep: keep in mind how the backends are."""
        if self._fleet is None:
            return
        for view in self._fleet.views.value:
            backend_id = view.spec.id
            before = remember(self._before.get(backend_id, Before()), view)
            self._before[backend_id] = before
            self._left.update({(backend_id, model): FIRST_REQUESTS for model in before.decode_tps})

    def observe(self, outcome: Outcome) -> None:
        """Judge the speed of an answer; a speed that was learned with the GPU is no longer counted on without it."""
        backend_id, model, fleet = outcome.backend_id, outcome.model, self._fleet
        if fleet is None or backend_id is None or model is None or not outcome.succeeded or outcome.queued:
            return
        tps = decode_tps(outcome)
        left = self._left.get((backend_id, model), 0)
        is_lost = self._is_lost(backend_id, model)
        if tps is None or not (left or is_lost) or not fleet.has(backend_id):
            return
        self._left[backend_id, model] = max(left - 1, 0)
        why = lost_speed(self._before[backend_id], fleet.view(backend_id).spec.hardware, model, tps)
        if why is not None:
            self._note(fleet, backend_id, (model, "speed"), why)
            if is_lost is not self._is_lost(backend_id, model):
                self._learner.restart(outcome)

    def _look(self, fleet: Fleet, view: BackendView) -> None:
        """See whether a backend's models lie where they lay."""
        backend_id = view.spec.id
        if fleet is not self._fleet or backend_id not in self._before:
            return
        for model, why in lost_memory(self._before[backend_id], view).items():
            was_lost = self._is_lost(backend_id, model)
            self._note(fleet, backend_id, (model, "memory"), why)
            if was_lost is not self._is_lost(backend_id, model):
                self._learner.forget(backend_id, model)

    def _is_lost(self, backend_id: str, model: str) -> bool:
        return any(name == model for name, _ in self._lost.get(backend_id, {}))

    def _note(self, fleet: Fleet, backend_id: str, what: tuple[str, str], why: str) -> None:
        lost = self._lost.setdefault(backend_id, {})
        if why:
            lost[what] = why
        else:
            lost.pop(what, None)
        self._tell(fleet, backend_id)

    def _tell(self, fleet: Fleet, backend_id: str) -> None:
        if fleet.has(backend_id):
            fleet.note_degraded(backend_id, next(iter(self._lost[backend_id].values()), ""))
