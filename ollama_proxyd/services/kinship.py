"""Has alike backends learn from each other: what one of a hundred cards shows, the others need not show anew."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Model
from ollama_proxyd.core.kin import as_kin, moved
from ollama_proxyd.core.learning import ENOUGH_SAMPLES, Speed, learn
from ollama_proxyd.core.readings import Conditions
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


@dataclass(slots=True, eq=False)
class _Kind:
    """All backends that are alike, and by model and conditions what they have shown."""

    ids: list[str] = field(default_factory=list)
    pools: dict[Hashable, dict[Conditions | None, _Pool]] = field(default_factory=dict)

    def pool(self, weights: Hashable, conditions: Conditions | None) -> _Pool | None:
        """What is known of a model under these conditions, else under those of its last answer as a first guess."""
        if not (known := self.pools.get(weights)):
            return None
        last = next(reversed(known.values()))
        return known.get(conditions) or last._replace(speed=last.speed.first_guess(), told_samples=0)

    def keep(self, weights: Hashable, conditions: Conditions | None, pool: _Pool) -> None:
        """Have a pool be the last one."""
        known = self.pools.setdefault(weights, {})
        known.pop(conditions, None)
        known[conditions] = pool


class Kinship:
    """Keeps what each kind of backend has shown of each model; backends without their like are left alone."""

    def __init__(self, fleet: Fleet, learner: Learner) -> None:
        self._fleet = fleet
        self._learner = learner
        self._marks: Mapping[str, Hashable | None] = {}
        """By backend what makes it alike others."""
        self._kinds: dict[Hashable, _Kind] = {}
        self._alike: Mapping[str, _Kind] = {}
        """For each backend its kind, where there is another one of it: nothing is hashed at an answer but its id."""
        fleet.reconciled.listen(self._group)
        fleet.checked.listen(self._meet)

    def observe(self, ended: AttemptEnded) -> None:
        """Learn of the kind what an attempt showed of its backend, and pass it on where that is news."""
        backend_id, kind = ended.backend_id, self._alike.get(ended.backend_id)
        if kind is None or not ended.succeeded or (view := self._fleet.view(backend_id)).degraded:
            return
        model = next((each for each in view.models if each.name == ended.model), None)
        weights, conditions = weights_of(model or Model(ended.model)), self._learner.conditions
        last = kind.pool(weights, conditions) or _Pool(backend_id, Speed())
        known = moved(last.speed, last.last_id, backend_id)
        pool = last._replace(last_id=backend_id, speed=learn(known, what_it_showed(ended, known), ended.ended_s))
        if pool.is_news:
            pool = pool._replace(told_samples=pool.speed.samples, told_slows=pool.slows)
            for view in map(self._fleet.view, kind.ids):
                for held in view.models:
                    if weights_of(held) == weights:
                        self._suppose(view, held.name, pool)
        kind.keep(weights, conditions, pool)

    def _group(self, _changes: object) -> None:
        before, kinds = self._marks, dict[Hashable, _Kind]()
        self._marks = {each: kind_of(self._fleet.view(each).spec) for each in self._fleet.members}
        for backend_id, mark in self._marks.items():
            if mark is not None:
                known = self._kinds.get(mark)
                kinds.setdefault(mark, _Kind(pools={} if known is None else known.pools)).ids.append(backend_id)
            if before.get(backend_id, mark) != mark:
                self._learner.forget_guesses(backend_id)
        self._kinds = kinds
        self._alike = {each: kind for kind in kinds.values() if len(kind.ids) > 1 for each in kind.ids}

    def _meet(self, view: BackendView) -> None:
        """One that was found up starts from what is known of its kind; which engine it is may be known only now."""
        if self._marks.get(view.spec.id) != kind_of(view.spec):
            self._group(view)
        if (kind := self._alike.get(view.spec.id)) is None or not kind.pools:
            return
        for model in view.models:
            pool = None if model.name in view.speeds else kind.pool(weights_of(model), self._learner.conditions)
            if pool is not None:
                self._suppose(view, model.name, pool)

    def _suppose(self, view: BackendView, model: str, pool: _Pool) -> None:
        if not view.degraded and pool.told_samples:
            self._learner.suppose(view.spec.id, model, as_kin(pool.speed, pool.last_id, view.spec.id))


def weights_of(model: Model) -> Hashable:
    """What makes models of two backends the same: a name alone may stand for another size or quantisation."""
    return model.digest or (model.name, model.size_bytes, model.quantization)


def kind_of(spec: BackendSpec) -> Hashable | None:
    """What makes backends alike: hardware, engine, and the figures that their owner has given to each of them.

    None where too little was given, and of engines that the proxy runs, since each has a command of its own.
    """
    if spec.engine is not None or (spec.profile.power_w is None and spec.profile.decode_tps is None):
        return None
    return spec.hardware, spec.flavor, spec.profile, spec.is_local
