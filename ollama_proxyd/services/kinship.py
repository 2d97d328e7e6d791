"""Has alike backends learn from each other: what one of a hundred cards shows, the others need not show anew."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.fleet import BackendSpec, BackendView
from ollama_proxyd.core.kin import as_kin, moved
from ollama_proxyd.core.learning import ENOUGH_SAMPLES, Speed, learn
from ollama_proxyd.core.slowing import NEIGHBOUR_SLOWDOWN
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.learner import Learner, what_it_showed

MORE_SAMPLES = 2
"""So many times as many answers are news of a kind: all that rests on it is reckoned anew then."""
NEWS_SHARE = 0.1
"""And so is what a batch slows where it has changed by this share."""


class _Pool(NamedTuple):
    """What all backends of a kind have shown of a model together, as if the last one had."""

    last_id: str
    speed: Speed
    told_samples: int = 0
    """How many answers had shown what was passed on last."""
    told_slows: float = NEIGHBOUR_SLOWDOWN
    """What each other of a batch slowed it then."""

    @property
    def slows(self) -> float:
        """What each other of a batch slows."""
        return self.speed.beside.get(self.last_id, NEIGHBOUR_SLOWDOWN)

    @property
    def is_news(self) -> bool:
        """Whether that is worth passing on."""
        samples, told = self.speed.samples, self.told_samples
        is_more = samples >= max(ENOUGH_SAMPLES, MORE_SAMPLES * told)
        return is_more or (told > 0 and abs(self.slows - self.told_slows) > NEWS_SHARE * self.told_slows)


class Kinship:
    """Keeps what each kind of backend has shown of each model; backends without their like are left alone."""

    def __init__(self, fleet: Fleet, learner: Learner) -> None:
        self._fleet = fleet
        self._learner = learner
        self._kinds: Mapping[str, Hashable | None] = {}
        self._alike: Mapping[str, Sequence[str]] = {}
        """For each backend all of its kind."""
        self._pools: dict[tuple[Hashable | None, str], _Pool] = {}
        fleet.reconciled.listen(self._group)
        fleet.checked.listen(self._meet)

    def observe(self, ended: AttemptEnded) -> None:
        """Learn of the kind what an attempt showed of its backend, and pass it on where that is news."""
        backend_id, model = ended.backend_id, ended.model
        if backend_id not in self._alike or not ended.succeeded or self._fleet.view(backend_id).degraded:
            return
        key = self._kinds[backend_id], model
        last = self._pools.get(key, _Pool(backend_id, Speed()))
        known = moved(last.speed, last.last_id, backend_id)
        pool = last._replace(last_id=backend_id, speed=learn(known, what_it_showed(ended, known), ended.ended_s))
        if pool.is_news:
            pool = pool._replace(told_samples=pool.speed.samples, told_slows=pool.slows)
            for each in self._alike[backend_id]:
                view = self._fleet.view(each)
                if any(model == held.name for held in view.models):
                    self._suppose(view, model, pool)
        self._pools[key] = pool

    def _group(self, _changes: object) -> None:
        by_kind, before = defaultdict[Hashable | None, list[str]](list), self._kinds
        self._kinds = {each: kind_of(self._fleet.view(each).spec) for each in self._fleet.members}
        for backend_id, kind in self._kinds.items():
            by_kind[kind].append(backend_id)
            if before.get(backend_id, kind) != kind:
                self._learner.forget_guesses(backend_id)
        by_kind.pop(None, None)
        self._alike = {each: ids for ids in by_kind.values() if len(ids) > 1 for each in ids}
        self._pools = {key: pool for key, pool in self._pools.items() if key[0] in by_kind}

    def _meet(self, view: BackendView) -> None:
        """One that was found up starts from what is known of its kind; which engine it is may be known only now."""
        backend_id, kind = view.spec.id, kind_of(view.spec)
        if self._kinds.get(backend_id) != kind:
            self._group(view)
        if not self._pools or backend_id not in self._alike:
            return
        for model in view.models:
            if model.name not in view.speeds and (pool := self._pools.get((kind, model.name))) is not None:
                self._suppose(view, model.name, pool)

    def _suppose(self, view: BackendView, model: str, pool: _Pool) -> None:
        if not view.degraded and pool.told_samples:
            self._learner.suppose(view.spec.id, model, as_kin(pool.speed, pool.last_id, view.spec.id))


def kind_of(spec: BackendSpec) -> Hashable | None:
    """What makes backends alike: hardware, engine, and the figures that their owner has given to each of them.

    None where too little was given, and of engines that the proxy runs, since each has a command of its own.
    """
    if spec.engine is not None or (spec.profile.power_w is None and spec.profile.decode_tps is None):
        return None
    return spec.hardware, spec.flavor, spec.profile, spec.is_local
