"""Requests beside each other on one chip: how much each slows the others, and how they share its watts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import sqrt
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.binding import chip_of, device_of
from ollama_proxyd.core.fleet import BackendSpec, BackendView, Model
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.policy.priors import guessed_power_w, known_power_w
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.slowing import NEIGHBOUR_SLOWDOWN
from ollama_proxyd.core.watts import MORE_POWER, Watts


class Neighbour(NamedTuple):
    """A backend at work on the chip: its requests under way, how many people wait for, and what it draws."""

    number: int
    awaited: int
    power_w: float


_IDLE = Neighbour(0, 0, 0.0)


class Neighbours(NamedTuple):
    """All that are at work on a chip, by backend, and their sums."""

    each: Mapping[str, Neighbour]
    awaited: int
    power_w: float


class Crowd(NamedTuple):
    """What it means for a request that others are under way beside it."""

    there: Mapping[str, Neighbour] = {}
    """All that are at work on the chip, its own backend included."""
    own_id: str = ""
    batch: int = 0
    """How many of its own backend's would be under way beside it."""
    slow: float = 1.0
    """How many times longer it takes."""
    share: float = 1.0
    """Its share of its own device's watts: a batch reads the weights once for all of it."""
    delayed: float = 0.0
    """How much longer all the others take together, for each second that it would take alone."""
    delayed_w: float = 0.0
    """What other devices draw for that, for each such second."""

    @property
    def beside(self) -> Mapping[str, int]:
        """How many are beside it, by backend; those in its own batch under its own id."""
        others = {each: one.number for each, one in self.there.items() if each != self.own_id}
        return others | ({self.own_id: self.batch} if self.batch else {})

    @property
    def note(self) -> Reason | None:
        """How much longer it takes, and beside how many; None where it would be alone."""
        if not self.own_id:
            return None
        count = self.batch + sum([each.number for each in self.there.values()])
        if (own := self.there.get(self.own_id)) is not None:
            count -= own.number
        return Reason("beside_others", count=count, is_many=count > 1, times=self.slow)


ALONE = Crowd()


Working: TypeAlias = Mapping[str, Neighbours]
"""What is at work, by chip."""
_NOTHING = Neighbours({}, 0, 0.0)


def at_work(
    views: Iterable[BackendView], devices: tuple[DeviceState, ...], background: Mapping[str, int], before: Working
) -> Working:
    """What is at work once these backends have changed; `background` is how many of each nobody waits for."""
    changed = defaultdict[str, dict[str, Neighbour | None]](dict)
    for view in views:
        if not (view.in_flight or before):
            continue
        backend_id, (chip, power_w) = view.spec.id, _place(view.spec, devices, view.watts)
        number, now = view.in_flight, None
        if number:
            now = Neighbour(number, max(number - background.get(backend_id, 0), 0), power_w)
        if before.get(chip, _NOTHING).each.get(backend_id) != now:
            changed[chip][backend_id] = now
    working = dict(before)
    for chip, news in changed.items():
        known = {**before.get(chip, _NOTHING).each, **news}
        there = {each: one for each in sorted(known) if (one := known[each]) is not None}
        working.pop(chip, None)
        if there:
            working[chip] = _all_of(there)
    return working


@by_identity
def _place(spec: BackendSpec, devices: tuple[DeviceState, ...], watts: Watts | None) -> tuple[str, float]:
    """The chip of a backend, and what it draws at work."""
    view = BackendView(spec, watts=watts)
    return chip_of(spec, device_of(spec, devices)), known_power_w(view) or guessed_power_w(view) or 0.0


def _all_of(there: Mapping[str, Neighbour]) -> Neighbours:
    awaited, power_w = sum([each.awaited for each in there.values()]), sum([each.power_w for each in there.values()])
    return Neighbours(there, awaited, power_w)


def crowd(view: BackendView, model: Model, there: Neighbours | None) -> Crowd:
    """What one more request would meet: an engine of another device slows it as a whole, one in its batch each."""
    return ALONE if there is None else _met(view, model, there, view.speeds.get(model.name, _UNSEEN))


@by_identity
def _met(view: BackendView, model: Model, there: Neighbours, speed: Speed) -> Crowd:
    own_id, own = view.spec.id, there.each.get(view.spec.id, _IDLE)
    batch, others = max(min(view.in_flight, view.slots - 1), 0), len(there.each) - (own is not _IDLE)
    if not others and not batch:
        return ALONE
    slowing, delayed = NEIGHBOUR_SLOWDOWN * others, NEIGHBOUR_SLOWDOWN * (there.awaited - own.awaited)
    delayed_w = NEIGHBOUR_SLOWDOWN * (there.power_w - own.power_w) if others else 0.0
    for backend_id, times in speed.beside.items():
        if backend_id != own_id and (other := there.each.get(backend_id)) is not None:
            more = times - NEIGHBOUR_SLOWDOWN
            slowing, delayed = slowing + more, delayed + more * other.awaited
            delayed_w += more * other.power_w
    each = batch_of(view, model)
    return Crowd(
        there=there.each,
        own_id=own_id,
        batch=batch,
        slow=1 + each.each_slows * batch + slowing,
        share=each.share(batch),
        delayed=delayed + each.each_slows * min(batch, own.awaited),
        delayed_w=delayed_w,
    )


def filled(met: Crowd, view: BackendView, model: Model, number: float) -> Crowd:
    """The same once so many of those that wait have followed into its batch, as far as that has room."""
    more = min(number, view.slots - 1 - met.batch)
    if more <= 0:
        return met
    batch = batch_of(view, model)
    return met._replace(
        slow=met.slow + batch.each_slows * more,
        share=batch.share(met.batch + more),
        delayed=met.delayed + batch.each_slows * more,
    )


def cheapest_fill(met: Crowd, view: BackendView, model: Model, costs: tuple[float, float, float]) -> float:
    """How many that follow into its batch make a request cheapest, of as many as have room there.

    `costs` are watts that the batch shares, watts that it does not, and what a second is worth to each that follows.
    """
    batch, there, (shared_w, own_w, theirs_w) = batch_of(view, model), 1 + met.batch, costs
    most = float(max(view.slots - there, 0))
    slower_w = batch.each_slows * (shared_w * batch.more_w + own_w + theirs_w)
    sooner_w = shared_w * (met.slow - batch.each_slows * there) * (1 - batch.more_w)
    if not slower_w:
        return most
    return min(max(sqrt(max(sooner_w, 0.0) / slower_w) - there, 0.0), most)


class Batch(NamedTuple):
    """What each further request of a batch means: how much it slows the others, and draws more than one does."""

    each_slows: float
    more_w: float

    def share(self, others: float) -> float:
        """The share of its device's watts that is each one's, beside so many others."""
        return (1 + self.more_w * others) / (1 + others)


def batch_of(view: BackendView, model: Model) -> Batch:
    """What each further request of a batch means there."""
    more_w = MORE_POWER if view.watts is None or view.watts.more is None else view.watts.more
    seen = view.speeds.get(model.name, _UNSEEN).beside
    return Batch(seen.get(view.spec.id, NEIGHBOUR_SLOWDOWN), more_w)


def own_crowd(view: BackendView, model: Model, there: Neighbours | None) -> Crowd:
    """The same as if nothing else were at work on the chip."""
    own = None if there is None else there.each.get(view.spec.id)
    if there is not None and own is not None and len(there.each) == 1:
        return crowd(view, model, there)
    return ALONE if own is None else crowd(view, model, Neighbours({view.spec.id: own}, own.awaited, own.power_w))


def least_slowing(view: BackendView, model: Model) -> float:
    """How much longer another backend at work on the chip makes an answer at least, whichever it is."""
    seen = view.speeds.get(model.name, _UNSEEN).beside
    if not seen:
        return NEIGHBOUR_SLOWDOWN
    return min([NEIGHBOUR_SLOWDOWN, *[times for each, times in seen.items() if each != view.spec.id]])


_UNSEEN = Speed()
