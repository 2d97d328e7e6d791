"""Orders the backends for a request: those that may serve it, the best first, and why not the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from ollama_proxyd.core.binding import device_of, why_unbound
from ollama_proxyd.core.fleet import BackendSpec, BackendView, FleetView
from ollama_proxyd.core.memo import by_identity
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.policy.cost import Candidate, Demand, cost_under, demand, price, under
from ollama_proxyd.core.policy.decision import Decision, Ranked, Rejected
from ollama_proxyd.core.policy.decision_reason import why_chosen, why_none
from ollama_proxyd.core.policy.eligibility import (
    LimitRule,
    Situation,
    fitness_rules,
    held,
    limit_rules,
    matches,
    unfit,
)
from ollama_proxyd.core.policy.failing import failing_of, may_be_tried, why_aside
from ollama_proxyd.core.policy.heat import critical_heat
from ollama_proxyd.core.policy.mode_limits import Tier, beyond, refusing, tier
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.trial import trial
from ollama_proxyd.core.readings import DeviceState, SystemState
from ollama_proxyd.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Assessment:
    """The backends that can do the work, priced; what another mode would make of them needs nothing else."""

    situation: Situation
    asked: Demand
    fit: tuple[tuple[Candidate, Ranked], ...]
    unable: tuple[Rejected, ...]
    failing: tuple[tuple[Candidate, Ranked], ...] = ()
    """Those that fit as well, but failed of late: for where no other can serve, the nearest to its next try first."""


def rank(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Decision:
    """Decide where a request goes; pure and total: each backend is either ranked or rejected."""
    return decide(assess(query, fleet, system, setting))


def assess(query: Query, fleet: FleetView, system: SystemState, setting: ModeSetting) -> Assessment:
    """Find the backends that can do the work, and what it would cost on each."""
    situation = Situation(query, setting, system, under_way=sum([view.in_flight for view in fleet]))
    fit, unable = _sift(fleet, situation)
    speeds = [each.view.speeds[each.model.name] for each in fit if each.model.name in each.view.speeds]
    asked = demand(query, setting.row, speeds)
    failing = failing_of([each for each in fit if each.view.breakers], query)
    aside = {id(each) for each in failing}
    priced = tuple([(each, price(each, asked)) for each in fit if id(each) not in aside])
    return Assessment(situation, asked, priced, unable, tuple([(each, price(each, asked)) for each in failing]))


def decide(assessment: Assessment) -> Decision:
    """Choose among the backends that were found fit."""
    situation, asked = assessment.situation, assessment.asked
    query, setting = situation.query, situation.setting
    ranked, limited = _order(assessment.fit, situation)
    if not ranked and assessment.failing:
        ranked = _last_resort(assessment.failing, situation)
    if (tried := trial(assessment.fit, ranked, query)) is not None:
        ranked = (tried, *[each for each in ranked if each is not tried])
    rejected = assessment.unable + limited + _set_aside(assessment, ranked)
    return Decision(
        ranked=ranked,
        rejected=rejected,
        mode=setting.chosen,
        effective_mode=setting.effective,
        mode_reason=setting.reason,
        reason=why_chosen(situation, asked, ranked) if ranked else why_none(query, rejected),
        expected_tokens=asked.output_tokens,
    )


def _last_resort(failing: Sequence[tuple[Candidate, Ranked]], situation: Situation) -> tuple[Ranked, ...]:
    """Failing backends that may serve where nothing else can, the nearest to its next try first."""
    query = situation.query
    triable = [each for each in failing if may_be_tried(each[0], query)]
    found = {each.backend_id: each for each in _order(triable, situation)[0]}
    return tuple(
        [
            best._replace(beyond=(why_aside(candidate, query), *best.beyond))
            for candidate, _ in triable
            if (best := found.get(candidate.view.spec.id)) is not None
        ]
    )


def _set_aside(assessment: Assessment, ranked: Sequence[Ranked]) -> tuple[Rejected, ...]:
    """The failing backends that are left alone, each with its reason."""
    query, used = assessment.situation.query, {each.backend_id for each in ranked}
    aside = (each for each, priced in assessment.failing if priced.backend_id not in used)
    return tuple([Rejected(each.view.spec.id, (why_aside(each, query),)) for each in aside])


def best_under(assessment: Assessment, setting: ModeSetting) -> Ranked | None:
    """The backend that another mode would choose, with its terms in the mode at hand; None where it had none."""
    situation = replace(assessment.situation, setting=setting)
    asked = under(assessment.asked, situation.query, setting.row)
    rules, places = limit_rules(situation.query), []
    for candidate, priced in assessment.fit:
        exceeded = beyond(candidate, priced, situation)
        if not _refusals(candidate, priced, situation, rules) and not refusing(exceeded, situation):
            cost_j, energy_j = cost_under(candidate, priced, asked)
            places.append((*_place(tier(exceeded, situation), candidate, cost_j), energy_j, priced))
    if not places:
        return None
    *_, energy_j, best = min(places, key=_BY_PLACE)
    return best if energy_j == best.energy_j else best._replace(energy_j=energy_j)


def _sift(fleet: FleetView, situation: Situation) -> tuple[list[Candidate], tuple[Rejected, ...]]:
    """Part the backends that can do the work from those that cannot."""
    devices = situation.system.devices
    rules = fitness_rules(situation.query)
    working = _at_work(fleet, devices) if situation.under_way else {}
    fit: list[Candidate] = []
    unable: list[Rejected] = []
    for view in fleet:
        model = held(view, situation.query)
        rejections = unfit(view, model, situation, rules)
        if model is None or rejections:
            unable.append(Rejected(view.spec.id, rejections))
            continue
        device = device_of(view.spec, devices)
        why = why_unbound(view.spec, devices) if device is None else None
        fit.append(Candidate(view, model, device, why, _neighbours(view, device, working)))
    return fit, tuple(unable)


def _at_work(fleet: FleetView, devices: tuple[DeviceState, ...]) -> Mapping[str, int]:
    """The requests under way on each device, by its id."""
    working: dict[str, int] = {}
    for view in fleet:
        device = device_of(view.spec, devices) if view.in_flight else None
        if device is not None:
            working[device.id] = working.get(device.id, 0) + view.in_flight
    return working


def _neighbours(view: BackendView, device: DeviceState | None, working: Mapping[str, int]) -> int:
    """How many requests there will be beside one more: those in other slots, and those of engines on its device."""
    others = 0 if device is None else working.get(device.id, view.in_flight) - view.in_flight
    return others + max(min(view.in_flight, view.slots - 1), 0)


def _order(
    fit: Sequence[tuple[Candidate, Ranked]], situation: Situation
) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """Sort by tier, then by cost; equals by preference for the model, by priority, then by name."""
    places = []
    limited: list[Rejected] = []
    rules = limit_rules(situation.query)
    for candidate, priced in fit:
        exceeded = beyond(candidate, priced, situation)
        if refusals := refusing(exceeded, situation) + _refusals(candidate, priced, situation, rules):
            limited.append(Rejected(priced.backend_id, refusals))
        else:
            ranked = priced._replace(beyond=exceeded) if exceeded else priced
            places.append((*_place(tier(exceeded, situation), candidate, priced.cost_j), ranked))
    places.sort(key=_BY_PLACE)
    return tuple([place[-1] for place in places]), tuple(limited)


def _refusals(
    candidate: Candidate, priced: Ranked, situation: Situation, rules: Sequence[LimitRule]
) -> tuple[Reason, ...]:
    """Every limit of the request that a backend exceeds, and the heat that would endanger its device."""
    found = [rule(candidate.view, priced, situation) for rule in rules]
    if candidate.device is not None:
        found.append(_critical_heat(candidate.view.spec, candidate.device))
    return tuple([each for each in found if each is not None])


@by_identity
def _critical_heat(spec: BackendSpec, device: DeviceState) -> Reason | None:
    return critical_heat(BackendView(spec), device)


_BY_PLACE = itemgetter(0, 1, 2, 3, 4)


def _place(standing: Tier, candidate: Candidate, cost_j: float) -> tuple[Tier, float, bool, int, str]:
    spec = candidate.view.spec
    preferred = spec.rules.preferred
    is_preferred = bool(preferred) and matches(candidate.model.name, preferred)
    return standing, cost_j, not is_preferred, -spec.priority, spec.id
