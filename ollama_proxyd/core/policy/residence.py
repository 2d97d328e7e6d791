"""What it costs to have a model in memory on a device that is awake, and to keep it there."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware, LoadedModel, Model, Profile
from ollama_proxyd.core.keeping import MOST_S, Gaps, chance, idle_s, keep_alive_s
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.model_names import canonical, resolve
from ollama_proxyd.core.policy.priors import WAKE_OF_CARD_S, WAKE_S, expected_power_w, is_known
from ollama_proxyd.core.policy.sparing import Sparing, gaps_of, may_spare
from ollama_proxyd.core.readings import DeviceState, PowerState
from ollama_proxyd.core.reasons import Reason

LOAD_OVERHEAD_S = 0.5
LOAD_BYTES_PER_S = 1.5e9
"""How fast a model is loaded, where that was neither measured nor configured."""
TYPICAL_MODEL_BYTES = 4e9
LARGEST_MODEL_BYTES = 1e13

IDLE_OF_CARD_W = 9.0
"""A driver's context keeps a card from its deepest sleep: 8 W on a laptop (ollama#8591), 22 W on a large card."""
IDLE_W = 0.3
"""What lies in the processor shares its memory, which is refreshed in any case."""
COUNTED_FROM_W = 1.0
"""A smaller tail is less than the error of the other terms; counted, it drew work to what happened to be loaded."""
CARDS = frozenset({Hardware.NVIDIA, Hardware.AMDGPU})

LOAD_UNKNOWN = Reason("load_unknown")


def idle_power_w(profile: Profile, hardware: Hardware) -> float:
    """What an unused model in memory is expected to draw: as configured, else as its class of hardware does."""
    if is_known(profile.idle_w):
        return profile.idle_w
    return IDLE_OF_CARD_W if hardware in CARDS else IDLE_W


class Upkeep(NamedTuple):
    """What a model's place in memory costs: once to have it there, then for each second that it stays."""

    load_s: float
    load_j: float
    wake_s: float
    wake_j: float
    idle_w: float
    load_note: Reason | None = None
    wake_note: Reason | None = None
    idle_note: Reason | None = None
    start_s: float = 0.0
    """Starting the engine, where the proxy stops it with its last model."""
    start_j: float = 0.0

    @property
    def again_s(self) -> float:
        """How long it takes to have the model there once it is gone."""
        return self.load_s + self.wake_s + self.start_s

    @property
    def again_j(self) -> float:
        """What that takes."""
        return self.load_j + self.wake_j + self.start_j

    def break_even_s(self, price_w: float) -> float:
        """After this time keeping has cost as much as loading again would."""
        return (self.again_j + price_w * self.again_s) / self.idle_w if self.idle_w > 0 else inf


class Residence(NamedTuple):
    """What a request pays for the model's place in memory, and what later ones are spared by it."""

    wake_s: float = 0.0
    load_s: float = 0.0
    wake_j: float = 0.0
    load_j: float = 0.0
    idle_tail_j: float = 0.0
    spared_s: float = 0.0
    spared_j: float = 0.0
    keep_alive_s: float = 0.0

    def shared(self, count: float) -> "Residence":
        """The part of each of so many requests that wait for it together; the time is the same for all."""
        return self._replace(
            wake_j=self.wake_j / count, load_j=self.load_j / count, idle_tail_j=self.idle_tail_j / count
        )


def upkeep(view: BackendView, model: Model, power_w: float) -> Upkeep:
    """What a model costs at a backend that must wake and load it; the notes say what is estimated."""
    memory = view.memory
    costs = _upkeep(view.spec, model, power_w, memory.load_s.get(model.name), memory.bytes_per_s, memory.idle_w)
    return costs if memory.start_s is None else _starting(costs, memory.start_s, power_w)


@by_identity
def _starting(costs: Upkeep, start_s: float, power_w: float) -> Upkeep:
    return costs._replace(start_s=start_s, start_j=power_w * start_s)


@by_identity
def _upkeep(
    spec: BackendSpec,
    model: Model,
    power_w: float,
    measured_s: float | None,
    bytes_per_s: float | None,
    measured_w: float | None,
) -> Upkeep:
    profile, hardware = spec.profile, spec.hardware
    load_s, load_note = _load_s(profile, model.size_bytes, measured_s, bytes_per_s)
    wake_s, wake_note = profile.wake_s, None
    if not is_known(wake_s):
        wake_s = WAKE_S.get(hardware, WAKE_OF_CARD_S)
        wake_note = Reason("wake_estimated", wake_seconds=wake_s)
    idle_w, idle_note = profile.idle_w if measured_w is None else measured_w, None
    if not is_known(idle_w):
        is_counted = spec.is_local or spec.machine is not None
        idle_w = idle_power_w(profile, hardware) if is_counted else 0.0  # nobody here pays for a stranger's idling
        idle_note = Reason("idle_watts", idle_watts=idle_w, is_estimated=True)
    elif measured_w is not None:
        idle_note = Reason("idle_watts", idle_watts=idle_w, is_measured=True)
    load_j = profile.load_j if is_known(profile.load_j) else power_w * load_s
    wake_j = profile.wake_j if is_known(profile.wake_j) else power_w * wake_s
    return Upkeep(load_s, load_j, wake_s, wake_j, idle_w, load_note, wake_note, idle_note)


def _load_s(
    profile: Profile, size_bytes: int | None, measured_s: float | None, bytes_per_s: float | None
) -> tuple[float, Reason | None]:
    """Seconds to load a model: as configured, as measured, else by its size."""
    if is_known(profile.load_s):
        return profile.load_s, None
    if measured_s is not None:
        return measured_s, Reason("load_measured", load_seconds=measured_s)
    known_bytes = size_bytes if is_known(size_bytes, 1, LARGEST_MODEL_BYTES) else TYPICAL_MODEL_BYTES
    load_s = LOAD_OVERHEAD_S + known_bytes / (bytes_per_s or LOAD_BYTES_PER_S)
    return load_s, Reason("load_estimated", load_seconds=load_s, size_gb=known_bytes / 1e9)


def keep_of(view: BackendView, model: Model, price_w: float) -> tuple[float, Upkeep]:
    """How long the proxy has an unused model kept, and what that rests on."""
    costs = upkeep(view, model, expected_power_w(view, model))
    return keep_alive_s(costs.break_even_s(price_w), gaps_of(view, canonical(model.name))), costs


class Keeping(NamedTuple):
    """What waking, loading and keeping a model cost, as far as neither the time nor the last requests matter."""

    arrival: tuple[Residence, tuple[Reason, ...]]
    """What it costs to have it there, and what is estimated of that."""
    costs: Upkeep
    price_w: float
    """What a second is worth in the mode in force."""
    asked_as: str
    """The model's canonical name."""
    name: str | None = None
    """The model's name in memory."""
    has_tail: bool = False

    def sparing(self, view: BackendView, price_w: float) -> Sparing | None:
        """What later requests are spared; None where nothing is known of them, or all came while others were there."""
        if not self.has_tail or not may_spare(view, self.asked_as):
            return None
        again_j = self.costs.again_j + price_w * self.costs.again_s
        return Sparing(again_j, self.name, view.memory, self.asked_as)

    def at(self, view: BackendView, now_s: float) -> tuple[Residence, tuple[Reason, ...]]:
        """The same at a moment, by the last times between requests and by when each model leaves."""
        if view.loaded is None:
            return self.arrival
        memory, gaps_s = view.memory, gaps_of(view, self.asked_as)
        profile, is_ours = view.spec.profile, memory.is_kept_by_us
        (found, notes), stay_s = _stay(self.arrival, self.costs, gaps_s, profile, is_ours, self.price_w)
        if not self.has_tail:
            return found, notes
        leaves_s, costs = memory.expires_s, self.costs
        left_s = max([leaves_s.get(each.name, inf) - now_s for each in view.loaded], default=0.0)
        own_left_s = 0.0 if self.name is None else leaves_s.get(self.name, inf) - now_s
        found = _with_tail(found, costs, gaps_s, (stay_s, max(left_s, 0.0), max(own_left_s, 0.0)))
        found = _sharing(found, self.price_w) if found.spared_j else found
        if found.idle_tail_j and not memory.is_kept_by_us and costs.idle_note is not None:
            notes += (costs.idle_note,)
        return found, notes


def keeping(view: BackendView, model: Model, device: DeviceState | None, power_w: float, price_w: float) -> Keeping:
    """What a model's place in memory costs, where a second is worth so much in the mode in force."""
    costs = upkeep(view, model, power_w)
    is_asleep = device is not None and device.power_state is PowerState.ASLEEP
    found, notes = _arrival(costs, model, view.loaded, is_asleep)
    if view.memory.is_off:
        found = found._replace(load_s=found.load_s + costs.start_s, load_j=found.load_j + costs.start_j)
        notes = (*notes, Reason("engine_starts", unit=view.spec.unit, start_seconds=costs.start_s))
    name = None if view.loaded is None else _own_name(model, view.loaded)
    has_tail = view.loaded is not None and costs.idle_w >= COUNTED_FROM_W
    return Keeping((found, notes), costs, price_w, canonical(model.name), name, has_tail)


@by_identity
def _own_name(model: Model, loaded: tuple[LoadedModel, ...]) -> str | None:
    return resolve(model.name, [each.name for each in loaded])


@by_identity
def _arrival(
    costs: Upkeep, model: Model, loaded: tuple[LoadedModel, ...] | None, is_asleep: bool
) -> tuple[Residence, tuple[Reason, ...]]:
    """What it costs to wake the device and to load the model, where that is to be done."""
    found, notes = Residence(), list[Reason | None]()
    if is_asleep:
        notes.append(costs.wake_note)
        found = found._replace(wake_s=costs.wake_s, wake_j=costs.wake_j)
    if loaded is None:
        notes.append(LOAD_UNKNOWN)
    elif _own_name(model, loaded) is None:
        found = found._replace(load_s=costs.load_s, load_j=costs.load_j)
        notes.append(costs.load_note)
    return found, tuple([each for each in notes if each is not None])


@by_identity
def _stay(
    arrival: tuple[Residence, tuple[Reason, ...]],
    costs: Upkeep,
    gaps_s: Gaps,
    profile: Profile,
    is_kept_by_us: bool,
    price_w: float,
) -> tuple[tuple[Residence, tuple[Reason, ...]], float]:
    """How long an unused model stays, why the proxy unloads it then, and how long its idling counts."""
    (found, notes), break_even_s = arrival, costs.break_even_s(price_w)
    keep_s = profile.keep_alive_s if is_known(profile.keep_alive_s) else MOST_S
    if is_kept_by_us:
        keep_s = keep_alive_s(break_even_s, gaps_s)
        notes = (*notes, why_unloaded(keep_s, costs))
    return (found._replace(keep_alive_s=keep_s), notes), keep_s if gaps_s else min(keep_s, break_even_s)


def _with_tail(
    found: Residence, costs: Upkeep, gaps_s: Sequence[float], times: tuple[float, float, float]
) -> Residence:
    """The same with the time that the device idles longer for it, and the loading that later requests are spared.

    `times` are how long the model stays, and how long anything, and this model, would stay without the request. Where
    nothing is known of the next request, idling counts up to the break-even time.
    """
    keep_s, left_s, own_left_s = times
    if left_s >= keep_s and own_left_s >= keep_s:
        return found  # nothing leaves later for it
    idle_j = costs.idle_w * (idle_s(gaps_s, keep_s) - idle_s(gaps_s, min(left_s, keep_s)))
    spared = chance(gaps_s, keep_s) - chance(gaps_s, min(own_left_s, keep_s))
    return Residence(*found[:4], idle_j, spared * costs.again_s, spared * costs.again_j, found.keep_alive_s)


def _sharing(found: Residence, price_w: float) -> Residence:
    """The same where later requests bear at most all that this one pays for the place: its own work it pays itself."""
    paid_j = found.load_j + found.wake_j + found.idle_tail_j + price_w * (found.load_s + found.wake_s)
    spared_j = found.spared_j + price_w * found.spared_s
    if spared_j <= paid_j:
        return found
    share = paid_j / spared_j
    return found._replace(spared_j=share * found.spared_j, spared_s=share * found.spared_s)


def why_unloaded(keep_s: float, costs: Upkeep) -> Reason:
    """Why a model is kept for a time and no longer."""
    values = {"keep_seconds": keep_s, "load_joules": costs.again_j, "idle_watts": costs.idle_w}
    source = {} if costs.idle_note is None else costs.idle_note.values
    return Reason("unloads_after", **{**source, **values})
