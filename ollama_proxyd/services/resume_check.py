"""Looks at each backend after the machine slept, for engines that came back without their GPU."""

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.gpu_loss import Before, is_unloaded, lost_memory, lost_speed, remember
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import value
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.learner import Learner, decode_tps

FIRST_REQUESTS = 10
"""A model is watched until so many of its answers since the machine woke up were as they should be."""
SLOW_COUNTS_S = 900.0
"""A backend that is taken to be slow gets few requests that could show the contrary, so after this time one may."""
MEMORY, SPEED = "memory", "speed"


@value
class Loss:
    """Why a model is taken to run on the CPU, and when that was seen last."""

    why: Reason
    seen_s: float


class GpuLossDetector:
    """The one owner of what backends were before the machine slept, and of what they lost.

    A loss is over when the model lies in the GPU's memory again or is as fast as it was; when the model was unloaded or
    the engine was down, because then the next load shows how it is now; and when it is too old to be counted on.
    """

    def __init__(self, fleet: Fleet, learner: Learner) -> None:
        self._learner = learner
        self._fleet = fleet
        self._before: dict[str, Before] = {}
        self._lost: dict[str, dict[tuple[str, str], Loss]] = {}
        """By backend: what is lost, by model and by what showed it."""
        self._left: dict[tuple[str, str], int] = {}
        """How many good answers end the watch, by backend and model."""
        fleet.checked.listen(self._look)

    def remember(self) -> None:
        """The machine goes to sleep: keep in mind how the backends are."""
        for view in self._fleet.views.value:
            backend_id = view.spec.id
            before = remember(self._before.get(backend_id, Before()), view)
            self._before[backend_id] = before
            models = before.gpu_share.keys() | before.decode_tps.keys()
            self._left.update({(backend_id, model): FIRST_REQUESTS for model in models})

    def observe(self, ended: AttemptEnded) -> None:
        """Judge the speed of an answer; a speed that was learned with the GPU is no longer counted on without it."""
        backend_id, model, fleet = ended.backend_id, ended.model, self._fleet
        is_watched = (self._left or self._lost) and self._is_watched(backend_id, model)
        if not is_watched or ended.neighbours or not ended.succeeded or not fleet.has(backend_id):
            return
        tps = decode_tps(ended)
        if tps is None:
            return
        was_lost = self._is_lost(backend_id, model)
        why = lost_speed(self._before[backend_id], fleet.view(backend_id), model, tps)
        if why is not False:
            self._note(backend_id, (model, SPEED), None if why is True else why)
        is_lost = self._is_lost(backend_id, model)
        if was_lost is not is_lost:
            self._learner.restart(ended)
        if not is_lost:
            self._left[backend_id, model] = max(self._left.get((backend_id, model), 0) - 1, 0)

    def _look(self, view: BackendView) -> None:
        """See whether a backend's models lie where they lay."""
        backend_id = view.spec.id
        if backend_id not in self._before:
            return
        told = lost_memory(self._before[backend_id], view)
        for model in {*told, *(model for model, _ in self._lost.get(backend_id, {}))}:
            was_lost = self._is_lost(backend_id, model)
            for what in (MEMORY, SPEED):
                self._drop_if_over(view, (model, what))
            if model in told and (was_lost or self._is_watched(backend_id, model)):
                self._note(backend_id, (model, MEMORY), told[model])
            if was_lost is not self._is_lost(backend_id, model):
                self._learner.forget(backend_id, model)
        self._tell(backend_id)

    def _drop_if_over(self, view: BackendView, key: tuple[str, str]) -> None:
        """Forget a loss that says nothing of how the backend is now."""
        lost = self._lost.get(view.spec.id, {})
        if key not in lost:
            return
        model, what = key
        was_down = not view.degraded  # which is what the fleet forgets of one that is down
        is_old = what == SPEED and _seen_s(view) - lost[key].seen_s >= SLOW_COUNTS_S
        if was_down or is_old or is_unloaded(view, model):
            del lost[key]

    def _is_watched(self, backend_id: str, model: str) -> bool:
        return self._left.get((backend_id, model), 0) > 0 or self._is_lost(backend_id, model)

    def _is_lost(self, backend_id: str, model: str) -> bool:
        return any(name == model for name, _ in self._lost.get(backend_id, {}))

    def _note(self, backend_id: str, what: tuple[str, str], why: Reason | None) -> None:
        lost = self._lost.setdefault(backend_id, {})
        if why is not None:
            lost[what] = Loss(why, _seen_s(self._fleet.view(backend_id)))
        else:
            lost.pop(what, None)
        self._tell(backend_id)

    def _tell(self, backend_id: str) -> None:
        if self._fleet.has(backend_id):
            reasons = [loss.why for loss in self._lost.get(backend_id, {}).values()]
            self._fleet.note_degraded(backend_id, reasons[0] if reasons else None)


def _seen_s(view: BackendView) -> float:
    """When the backend was looked at; what was never looked at is as old as it can be."""
    return 0.0 if view.checked_at_s is None else view.checked_at_s
