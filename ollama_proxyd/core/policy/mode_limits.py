"""What a mode asks to be spared, and what a game or a throttled device asks: limits that give way where they must."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from math import inf

from ollama_proxyd.core.fleet import BackendSpec, BackendView, Hardware
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.cost import Candidate
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.eligibility import Situation, late, needs
from ollama_proxyd.core.policy.heat import critical_heat, mode_fan, mode_temperature, throttling
from ollama_proxyd.core.policy.priors import known_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, SystemState, known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.watts import Watts

BACKGROUND_WAIT_S = 900.0
"""The least that work in the background waits for a backend within the limits: no person waits for it."""

LATE_PRICE_W = 10.0
"""What a second beyond the longest wait of the mode costs at least: even what nobody waits for is done some day."""


class Tier(IntEnum):
    """In which order backends are used; within a tier the cheapest comes first."""

    WITHIN = 0
    """Within the limits of the mode."""
    BEYOND = 1
    """Beyond one that another backend might keep."""
    LATE = 2
    """Its answer comes later than the request allows."""
    SPARED = 3
    """Needed by a game, held back by its own heat, or failing of late."""


_TIERS: Mapping[str, Tier] = {
    "mode_concurrency": Tier.WITHIN,  # it is exceeded at every backend alike
    "mode_power": Tier.BEYOND,
    "mode_temperature": Tier.BEYOND,
    "mode_fan": Tier.BEYOND,
    "mode_wait": Tier.WITHIN,  # waiting has its price already
    "deadline_of_end": Tier.LATE,
    "game": Tier.SPARED,
    "throttling": Tier.SPARED,
    "set_aside": Tier.SPARED,
}

_HeatRule = Callable[[BackendView, DeviceState, ModeRow], Reason | None]
_HEAT: tuple[_HeatRule, ...] = (mode_temperature, mode_fan)
_DISCRETE = frozenset({Hardware.NVIDIA, Hardware.AMDGPU})

_REFUSES_NOTHING = frozenset({"mode_wait", "mode_concurrency", "deadline_of_end"})


def standing(view: BackendView, device: DeviceState | None, games: int | None, row: ModeRow) -> tuple[Reason, ...]:
    """What keeps requests off a backend in a mode while others can serve, whatever the request."""
    return _standing(view.spec, view.watts, device, games, row)


@by_identity
def _standing(
    spec: BackendSpec, watts: Watts | None, device: DeviceState | None, games: int | None, row: ModeRow
) -> tuple[Reason, ...]:
    view = BackendView(spec, watts=watts)
    found: list[Reason | None] = []
    if row.max_power_w is not None:
        found.append(_power(view, row))
    if device is not None:
        found += [rule(view, device, row) for rule in _HEAT]
        found.append(throttling(view, device))
    if view.spec.hardware in _DISCRETE and view.spec.is_local and (games or 0) > 0:
        found.append(Reason("game", backend_id=view.spec.id))
    return tuple([each for each in found if each is not None])


_SHORT: Mapping[str, str] = {
    "mode_power": "limit_power",
    "mode_temperature": "limit_temperature",
    "mode_fan": "limit_fan",
    "throttling": "limit_throttling",
    "game": "limit_game",
    "critical_heat": "limit_critical_heat",
}
_UNTOLD = frozenset({"backend_id", "mode_label", "is_measured"})


def outside(view: BackendView, device: DeviceState | None, system: SystemState, row: ModeRow) -> Reason | None:
    """Why a backend is not among the first of a mode, in few words; None where it is."""
    found = standing(view, device, known(system.games), row)
    if device is not None and (critical := critical_heat(view, device)) is not None:
        found += (critical,)
    short = [
        Reason(_SHORT[each.code], **{name: value for name, value in each.values.items() if name not in _UNTOLD})
        for each in found
    ]
    return Reason("outside_mode", limits=tuple(short)) if short else None


def beyond(candidate: Candidate, priced: Ranked, situation: Situation) -> tuple[Reason, ...]:
    """Every limit that a backend exceeds for a request; none where the request names its backend."""
    row, query = situation.setting.row, situation.query
    if query.hints.target is not None and not query.hints.strict_limits:
        return ()
    found = candidate.standing
    wait_s = priced.queue_wait_s
    if wait_s and (most := longest_wait_s(row, query)) is not None and query.waited_s + wait_s > most:
        waited_s = query.waited_s if wait_s <= most else None  # told where it tips the scales
        values = {"wait_seconds": wait_s, "waited_seconds": waited_s, "limit_seconds": most}
        found += (Reason("mode_wait", backend_id=priced.backend_id, mode_label=row.label, **values),)
    if row.max_concurrency is not None and situation.under_way >= row.max_concurrency:
        counts = {"in_flight": situation.under_way, "limit": row.max_concurrency}
        found += (Reason("mode_concurrency", mode_label=row.label, **counts),)
    if query.time_left_s is not None and (end := late(priced, query)) is not None:
        found += (end,)
    return found


def tier(exceeded: tuple[Reason, ...], situation: Situation) -> Tier:
    """Where a backend stands that exceeds these limits."""
    if not exceeded:
        return Tier.WITHIN
    return max(Tier.WITHIN if is_lifted(each, situation) else _TIERS[each.code] for each in exceeded)


def standing_tier(standing: tuple[Reason, ...], *, lifts_power: bool) -> Tier:
    """Where a backend stands by what keeps requests off it in a mode, whatever the request."""
    codes = [each.code for each in standing if not (lifts_power and each.code == "mode_power")]
    return max([_TIERS[code] for code in codes], default=Tier.WITHIN)


def is_too_busy(exceeded: tuple[Reason, ...]) -> bool:
    """Whether a backend is busy for longer than the mode waits."""
    return "mode_wait" in [each.code for each in exceeded]


def give_way(within: Ranked, over: Ranked) -> bool:
    """Whether the limits of the mode give way to a backend beyond them: the best within is busy, or saves nothing.

    Watts that are known to be within the limit keep it while their device is at rest: people set it, and engines that
    never served seem slow. Beside other work it is the price of time that decides: of more work than those within the
    limit can do, as much crosses it however long all wait.
    """
    if is_too_busy(within.beyond):
        return True
    if within.cost_j <= over.cost_j:
        return False
    codes = [each.code for each in over.beyond]
    if codes == ["mode_power"] and (within.queue_wait_s or within.crowd.own_id):
        return True
    if within.energy_j <= over.energy_j:
        return False
    return "mode_power" not in codes or (within.is_guess and not over.is_guess)


def is_any_too_busy(situation: Situation) -> bool:
    """Whether any backend may be busy for longer than the mode waits."""
    query = situation.query
    if not query.waits_s or (most := longest_wait_s(situation.setting.row, query)) is None:
        return False
    queued_s = max([each.wait_s(inf) for each in query.queues.values()], default=0.0)
    return query.waited_s + max(query.waits_s.values()) + queued_s > most


def late_j(exceeded: tuple[Reason, ...], priced: Ranked, situation: Situation) -> float:
    """What the time beyond the longest wait of the mode adds to the cost."""
    if not priced.queue_wait_s or not is_too_busy(exceeded):
        return 0.0
    wait_s = situation.query.waited_s + priced.queue_wait_s
    more_w = max(LATE_PRICE_W - priced.price_of_time_w, 0.0)
    return more_w * (wait_s - (longest_wait_s(situation.setting.row, situation.query) or 0.0))


def longest_wait_s(row: ModeRow, query: Query) -> float | None:
    """How long a request waits for a backend within the limits of the mode; None: for ever."""
    most = row.max_wait_s
    if most is None or query.urgency is not Priority.BEST_EFFORT:
        return most
    return max(most, BACKGROUND_WAIT_S)


def is_lifted(exceeded: Reason, situation: Situation) -> bool:
    """Whether the request itself asks for more than the mode's watts: its own limit of them counts, or its hurry."""
    return exceeded.code == "mode_power" and lifts_power(situation)


def lifts_power(situation: Situation) -> bool:
    """Whether a request is served beyond the mode's watts as within them."""
    hints = situation.query.hints
    wishes = hints.max_power_watts is not None or (hints.latency_critical and not hints.power_efficient)
    return wishes and not is_strict(situation)


def refusing(exceeded: tuple[Reason, ...], situation: Situation) -> tuple[Reason, ...]:
    """Those limits that refuse, because they were declared strict; what waiting cures refuses nothing."""
    if not exceeded or not is_strict(situation):
        return ()
    return tuple([each for each in exceeded if each.code not in _REFUSES_NOTHING])


def is_strict(situation: Situation) -> bool:
    """Whether a limit of the mode refuses, instead of giving way."""
    return situation.setting.row.strict or situation.query.hints.strict_limits


def _power(view: BackendView, row: ModeRow) -> Reason | None:
    power_w = known_power_w(view)
    if power_w is None or row.max_power_w is None or power_w <= row.max_power_w:
        return None
    return Reason("mode_power", **needs(view, power_w), mode_label=row.label, limit_watts=row.max_power_w)
