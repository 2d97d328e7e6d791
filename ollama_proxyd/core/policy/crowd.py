"""Requests beside each other on one chip: how much each slows the others, and how they share its watts."""

from collections.abc import Mapping
from typing import NamedTuple

from ollama_proxyd.core.binding import chip_of, device_of
from ollama_proxyd.core.fleet import BackendView, FleetView, Model
from ollama_proxyd.core.learning import MORE_POWER, NEIGHBOUR_SLOWDOWN, Speed
from ollama_proxyd.core.policy.priors import guessed_power_w, known_power_w
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.core.reasons import Reason


class Neighbour(NamedTuple):
    """A backend at work on the chip: its requests under way, how many people wait for, and what it draws."""

    backend_id: str
    number: int
    awaited: int
    power_w: float


Neighbours = tuple[Neighbour, ...]


class Crowd(NamedTuple):
    """What it means for a request that others are under way beside it."""

    beside: Mapping[str, int] = {}
    """How many, by backend; those in its own batch under its own id."""
    slow: float = 1.0
    """How many times longer it takes."""
    share: float = 1.0
    """Its share of its own device's watts: a batch reads the weights once for all of it."""
    delayed: float = 0.0
    """How much longer all the others take together, for each second that it would take alone."""
    delayed_w: float = 0.0
    """What other devices draw for that, for each such second."""
    note: Reason | None = None


ALONE = Crowd()


def at_work(
    fleet: FleetView, devices: tuple[DeviceState, ...], background: Mapping[str, int]
) -> Mapping[str, Neighbours]:
    """The backends at work on each chip; `background` is how many requests of each nobody waits for."""
    working: dict[str, Neighbours] = {}
    for view in fleet:
        if view.in_flight:
            chip = chip_of(view.spec, device_of(view.spec, devices))
            power_w = known_power_w(view) or guessed_power_w(view) or 0.0
            awaited = max(view.in_flight - background.get(view.spec.id, 0), 0)
            working[chip] = (*working.get(chip, ()), Neighbour(view.spec.id, view.in_flight, awaited, power_w))
    return working


def crowd(view: BackendView, model: Model, device: DeviceState | None, working: Mapping[str, Neighbours]) -> Crowd:
    """What one more request would meet: an engine of another device slows it as a whole, one in its batch each."""
    own_id, there = view.spec.id, working.get(chip_of(view.spec, device), ())
    others = [each for each in there if each.backend_id != own_id]
    batch = max(min(view.in_flight, view.slots - 1), 0)
    if not others and not batch:
        return ALONE
    seen = view.speeds.get(model.name, _UNSEEN).beside
    slowing = {each.backend_id: seen.get(each.backend_id, NEIGHBOUR_SLOWDOWN) for each in others}
    own = seen.get(own_id, NEIGHBOUR_SLOWDOWN)
    more = MORE_POWER if view.watts is None or view.watts.more is None else view.watts.more
    slow = 1 + own * batch + sum(slowing.values())
    beside = {each.backend_id: each.number for each in others} | ({own_id: batch} if batch else {})
    count = sum(beside.values())
    return Crowd(
        beside=beside,
        slow=slow,
        share=(1 + more * batch) / (1 + batch),
        delayed=sum([slowing[each.backend_id] * each.awaited for each in others])
        + own * min([batch, *[each.awaited for each in there if each.backend_id == own_id]]),
        delayed_w=sum([slowing[each.backend_id] * each.power_w for each in others]),
        note=Reason("beside_others", count=count, is_many=count > 1, times=slow),
    )


_UNSEEN = Speed()
